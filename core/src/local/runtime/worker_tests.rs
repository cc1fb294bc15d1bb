use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc as std_mpsc;
use std::time::Duration;

use tokio::sync::oneshot;

use super::*;

/// Answers numbers with their double; zero panics.
#[derive(Debug)]
struct Doubler;

type Question = (u32, oneshot::Sender<u32>);

impl Work for Doubler {
    type Job = Question;

    fn work(&self, first: Question, more: &mut Queued<'_, Question>) {
        let mut next = Some(first);
        while let Some((number, reply)) = next {
            assert_ne!(number, 0, "zero");
            let _ = reply.send(number * 2);
            next = more.next();
        }
    }
}

async fn ask(worker: &Worker<Doubler>, number: u32) -> Result<u32> {
    let (reply, answer) = oneshot::channel();
    worker.submit(&Context::new(), (number, reply)).await?;
    answer.await.map_err(|_| thread_lost())
}

/// Runs a future without any async runtime.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(std::thread::Thread);
    impl std::task::Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Arc::new(Unpark(std::thread::current())).into();
    let mut future = std::pin::pin!(future);
    loop {
        match future.as_mut().poll(&mut std::task::Context::from_waker(&waker)) {
            std::task::Poll::Ready(value) => return value,
            std::task::Poll::Pending => std::thread::park(),
        }
    }
}

#[test]
fn jobs_are_done_without_any_runtime() {
    let worker = Worker::start("m", |_| Ok(Doubler)).unwrap();
    assert_eq!(block_on(ask(&worker, 4)).unwrap(), 8);
}

#[tokio::test]
async fn a_panic_fails_its_job_and_no_other() {
    let worker = Worker::start("m", |_| Ok(Doubler)).unwrap();
    let error = ask(&worker, 0).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unexpected);
    assert_eq!(ask(&worker, 5).await.unwrap(), 10);
}

#[tokio::test]
async fn a_load_that_panics_fails_every_call() {
    let worker: Worker<Doubler> = Worker::start("m", |_| panic!("broken")).unwrap();
    for _ in 0..2 {
        let error = ask(&worker, 1).await.unwrap_err();
        assert_eq!(error.message(), "loading m panicked");
    }
}

#[tokio::test]
async fn a_load_that_failed_for_good_is_not_tried_again() {
    let loads = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&loads);
    let worker: Worker<Doubler> = Worker::start("m", move |_| {
        counted.fetch_add(1, Ordering::SeqCst);
        Err(Error::new(ErrorKind::ModelLoad, "damaged").with_context("file", "x"))
    })
    .unwrap();
    for _ in 0..3 {
        let error = worker.ready(&Context::new()).await.unwrap_err();
        assert_eq!((error.kind(), error.message()), (ErrorKind::ModelLoad, "damaged"));
        assert_eq!(error.context(), [("file", "x".to_owned())]);
    }
    assert_eq!(loads.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_load_that_failed_for_a_passing_reason_is_tried_by_the_next_call() {
    let loads = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&loads);
    let worker = Worker::start("m", move |_| match counted.fetch_add(1, Ordering::SeqCst) {
        0 => Err(Error::new(ErrorKind::Unavailable, "the Hub is down")),
        _ => Ok(Doubler),
    })
    .unwrap();
    while !matches!(&*worker.running.lock().unwrap().state.borrow(), LoadState::Failed(_)) {
        tokio::task::yield_now().await;
    }
    assert_eq!(ask(&worker, 6).await.unwrap(), 12);
    assert_eq!(loads.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn whoever_waits_for_the_load_hears_how_far_it_is() {
    let (go, wait) = std_mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let worker = Worker::start("a model", move |cx| {
        wait.lock().unwrap().recv().unwrap();
        cx.report(|| Progress::Download { file: "model.safetensors".to_owned(), done: 1, of: Some(2) });
        wait.lock().unwrap().recv().unwrap();
        Ok(Doubler)
    })
    .unwrap();
    let heard = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&heard);
    let cx = Context::new().with_progress(move |progress| {
        sink.lock().unwrap().push(progress);
        let _ = go.send(());
    });
    worker.ready(&cx).await.unwrap();
    let heard = heard.lock().unwrap();
    assert!(
        matches!(&heard[0], Progress::Waiting { reason, .. } if reason == "a model is loading"),
        "{heard:?}"
    );
    assert!(matches!(&heard[1], Progress::Download { done: 1, .. }), "{heard:?}");
    assert_eq!(heard.len(), 2);
}

#[test]
fn the_load_is_told_when_nobody_waits_for_it_and_the_thread_ends() {
    let (started, start) = std_mpsc::channel();
    let (ended, end) = std_mpsc::channel();
    let worker: Worker<Doubler> = Worker::start("m", move |cx| {
        started.send(()).unwrap();
        while cx.check().is_ok() {
            std::thread::sleep(Duration::from_millis(1));
        }
        ended.send(()).unwrap();
        Err(cx.check().unwrap_err())
    })
    .unwrap();
    start.recv().unwrap();
    drop(worker);
    end.recv_timeout(Duration::from_secs(30)).expect("the load was told");
}

/// Says when it is dropped, which is when the thread has ended.
#[derive(Debug)]
struct Mourned(std_mpsc::Sender<()>);

impl Work for Mourned {
    type Job = Question;

    fn work(&self, (number, reply): Question, _: &mut Queued<'_, Question>) {
        let _ = reply.send(number);
    }
}

impl Drop for Mourned {
    fn drop(&mut self) {
        let _ = self.0.send(());
    }
}

#[test]
fn the_thread_ends_and_frees_the_model_with_the_last_handle() {
    let (dropped, drops) = std_mpsc::channel();
    let worker = Worker::start("m", move |_| Ok(Mourned(dropped.clone()))).unwrap();
    block_on(worker.ready(&Context::new())).unwrap();
    assert!(drops.try_recv().is_err());
    drop(worker);
    drops.recv_timeout(Duration::from_secs(30)).expect("the model is freed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn more_callers_than_the_queue_holds_all_get_their_own_answer() {
    let barrier = Arc::new(Barrier::new(2));
    let gate = Arc::clone(&barrier);
    let worker = Arc::new(
        Worker::start("m", move |_| {
            gate.wait();
            Ok(Doubler)
        })
        .unwrap(),
    );
    let count = u32::try_from(MAX_QUEUED).unwrap() * 3;
    let calls: Vec<_> = (1..=count)
        .map(|number| {
            let worker = Arc::clone(&worker);
            tokio::spawn(async move { (number, ask(&worker, number).await.unwrap()) })
        })
        .collect();
    barrier.wait();
    for call in calls {
        let (number, answer) = call.await.unwrap();
        assert_eq!(answer, number * 2);
    }
}
