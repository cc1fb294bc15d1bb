//! Every part once, panics, nesting, many callers, few threads.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

fn counts(pool: &Pool, parts: usize) -> Vec<usize> {
    let counts: Vec<AtomicUsize> = (0..parts).map(|_| AtomicUsize::new(0)).collect();
    pool.parallel(parts, |part| {
        counts[part].fetch_add(1, Ordering::Relaxed);
    });
    counts.iter().map(|count| count.load(Ordering::Relaxed)).collect()
}

#[test]
fn every_part_is_done_once() {
    for threads in [1, 2, 3, 7] {
        let pool = Pool::new(threads);
        for parts in [0, 1, 2, 3, 100, 1000] {
            assert_eq!(counts(&pool, parts), vec![1; parts], "{threads} threads, {parts} parts");
        }
    }
}

#[test]
fn idle_workers_take_parts() {
    let pool = Pool::new(2);
    let arrived = std::sync::Barrier::new(2);
    // Both parts wait for the other: one thread alone would never return.
    pool.parallel(2, |_| {
        arrived.wait();
    });
}

#[test]
fn sixteen_callers_on_two_threads_all_finish() {
    let pool = Pool::new(2);
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                for round in 0..200 {
                    assert_eq!(counts(&pool, 1 + round % 9), vec![1; 1 + round % 9]);
                }
            });
        }
    });
}

#[test]
fn more_callers_than_slots_all_finish() {
    let pool = Pool::new(2);
    let callers = 40;
    let inside = std::sync::Barrier::new(callers);
    std::thread::scope(|scope| {
        for _ in 0..callers {
            scope.spawn(|| {
                let first = AtomicUsize::new(0);
                // Every caller's first own part waits until all callers are inside a call.
                let me = std::thread::current().id();
                pool.parallel(3, |_| {
                    if std::thread::current().id() == me && first.fetch_add(1, Ordering::Relaxed) == 0 {
                        inside.wait();
                    }
                });
                if first.load(Ordering::Relaxed) == 0 {
                    inside.wait();
                }
            });
        }
    });
}

#[test]
fn calls_may_nest() {
    let pool = Pool::new(3);
    let sum = AtomicUsize::new(0);
    pool.parallel(5, |_| {
        pool.parallel(7, |_| {
            pool.parallel(2, |_| {
                sum.fetch_add(1, Ordering::Relaxed);
            });
        });
    });
    assert_eq!(sum.into_inner(), 70);
}

#[test]
fn a_panic_reaches_the_caller_and_the_pool_lives_on() {
    let pool = Pool::new(2);
    for parts in [1, 2, 50] {
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            pool.parallel(parts, |part| assert_ne!(part, parts - 1, "part {part} fails"));
        }));
        let message = *outcome.unwrap_err().downcast::<String>().unwrap();
        assert!(message.contains("fails"), "{message}");
        assert_eq!(counts(&pool, 64), vec![1; 64]);
    }
}

#[test]
fn chunks_cover_the_slice_without_overlap() {
    let pool = Pool::new(2);
    for length in [0, 1, 9, 10, 11, 95] {
        let mut slice = vec![0_usize; length];
        pool.parallel_chunks(&mut slice, 10, |number, chunk| {
            assert!(chunk.len() == 10 || number == length / 10);
            chunk.iter_mut().for_each(|value| *value += number + 1);
        });
        let expected: Vec<usize> = (0..length).map(|i| i / 10 + 1).collect();
        assert_eq!(slice, expected);
    }
}

#[test]
fn the_number_of_threads_is_checked() {
    for wrong in [0, MAX_THREADS + 1] {
        let KernelError::Settings(message) = Pool::of_process(Some(wrong)).unwrap_err() else { panic!() };
        assert!(message.contains(&wrong.to_string()), "{message}");
    }
}

#[test]
fn the_pool_of_the_process_is_one_and_works() {
    let pool = Pool::of_process(None).unwrap();
    assert_eq!(counts(&pool, 20), vec![1; 20]);
    let first = OF_PROCESS.load(Ordering::Acquire);
    assert_eq!(counts(&Pool::of_process(Some(pool.threads())).unwrap(), 20), vec![1; 20]);
    assert_eq!(OF_PROCESS.load(Ordering::Acquire), first);
    let other = if pool.threads() == 1 { 2 } else { 1 };
    assert!(Pool::of_process(Some(other)).is_err(), "the pool has its threads already");
}

#[test]
fn idle_workers_sleep() {
    let pool = Pool::new(4);
    counts(&pool, 100);
    let Workers::Own(owned) = &pool.workers else { unreachable!() };
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while owned.0.sleeping_workers() < 3 {
        assert!(std::time::Instant::now() < deadline, "the workers do not sleep");
        std::thread::yield_now();
    }
    assert_eq!(counts(&pool, 100), vec![1; 100]);
}
