use super::super::testing::{assert_near, devices, noise, on_gpu};
use super::*;

fn everywhere() -> Vec<Device> {
    devices().into_iter().chain([on_gpu()]).collect()
}

fn values(x: &Tensor) -> Vec<f32> {
    x.values().unwrap().into_owned()
}

fn address(x: &Tensor) -> *const f32 {
    x.cpu_values("it").unwrap().as_ptr()
}

#[test]
fn the_memory_of_the_last_owner_goes_to_the_next_tensor() {
    let device = &devices()[0];
    let of = |value: f32| {
        Tensor::build(device, [20, 50], |to| {
            to.fill(value);
            Ok(())
        })
    };
    let first = of(1.0).unwrap();
    let (place, view) = (address(&first), first.narrow(0, 3, 1).unwrap());
    drop(first);
    let second = of(2.0).unwrap();
    assert_ne!(address(&second), place, "a view still reads it");
    assert_eq!(values(&view), [1.0; 50]);
    drop(view);
    let third = of(3.0).unwrap();
    assert_eq!((address(&third), values(&third)), (place, vec![3.0; 1000]));
}

#[test]
fn operations_change_what_nobody_else_holds_and_nothing_else() {
    let device = &devices()[0];
    let x = noise(&[4, 100], 1.0).tensor(device);
    let place = address(&x);
    let held = x.clone();
    let doubled = (x * 2.0).unwrap();
    assert_ne!(address(&doubled), place);
    assert_near(&held, &noise(&[4, 100], 1.0).tensor(device), 0.0, "held");
    let place = address(&doubled);
    let again = (doubled * 0.5).unwrap();
    assert_eq!(address(&again), place);
    assert_near(&again, &held, 0.0, "halved");
}

#[test]
fn sums_and_products_are_those_of_candle() {
    for device in everywhere() {
        let (x, y) = (noise(&[3, 37], 1.0), noise(&[37, 3], 0.7));
        let other = y.tensor(&device).reshape([3, 37]).unwrap();
        let sum = (x.tensor(&device) + &other).unwrap();
        let truth: Vec<f32> = x.values.iter().zip(&y.values).map(|(x, y)| x + y).collect();
        assert_eq!(values(&sum), truth);
        let product = (x.tensor(&device) * 0.5).unwrap();
        assert_eq!(values(&product), x.values.iter().map(|x| x * 0.5).collect::<Vec<_>>());
        assert!((x.tensor(&device) + &noise(&[37], 1.0).tensor(&device)).is_err());
    }
}

#[test]
fn views_are_read_in_their_own_order() {
    let x = noise(&[4, 5, 6], 1.0);
    for device in everywhere() {
        let all = x.tensor(&device);
        let part = all.narrow(1, 2, 3).unwrap().narrow(2, 1, 2).unwrap();
        let truth: Vec<f32> = (0..4)
            .flat_map(|i| (2..5).flat_map(move |j| (1..3).map(move |k| 30 * i + 6 * j + k)))
            .map(|index: usize| x.values[index])
            .collect();
        assert_eq!((part.dims(), values(&part)), (&[4, 3, 2][..], truth.clone()));
        assert_eq!(values(&part.clone().reshape([12, 2]).unwrap()), truth);
        let rows = part.select_rows(&[3, 0]).unwrap();
        assert_eq!((rows.dims(), values(&rows)), (&[2, 3, 2][..], [&truth[18..], &truth[..6]].concat()));
        let twice = rows.repeat(2).unwrap();
        assert_eq!((twice.dims(), values(&twice)), (&[4, 3, 2][..], [values(&rows), values(&rows)].concat()));
        assert_eq!(values(&(part * 1.0).unwrap()), truth);
    }
}

#[test]
fn tensors_without_numbers_are_tensors() {
    for device in everywhere() {
        let none = Tensor::from_vec(&device, Vec::new(), [0, 6]).unwrap();
        assert_eq!(none.clone().reshape([0, 2, 3]).unwrap().narrow(1, 1, 1).unwrap().dims(), [0, 1, 3]);
        assert_eq!(none.select_rows(&[]).unwrap().dims(), [0, 6]);
        assert!(values(&(none * 2.0).unwrap()).is_empty());
        let rows = noise(&[3, 2], 1.0).tensor(&device);
        assert_eq!(rows.select_rows(&[]).unwrap().dims(), [0, 2]);
        assert_eq!(rows.repeat(0).unwrap().dims(), [0, 2]);
    }
}

#[test]
fn shapes_that_are_not_there_are_errors() {
    for device in everywhere() {
        let x = noise(&[2, 3], 1.0).tensor(&device);
        for error in [
            Tensor::from_vec(&device, vec![0.0; 5], [2, 3]).unwrap_err(),
            x.clone().reshape([4, 2]).unwrap_err(),
            x.narrow(0, 1, 2).unwrap_err(),
            x.narrow(2, 0, 1).unwrap_err(),
            x.select_rows(&[2]).unwrap_err(),
            x.dims_of::<3>().unwrap_err(),
        ] {
            assert_eq!(error.kind(), ErrorKind::InvalidRequest, "{error}");
        }
    }
}

#[test]
fn operands_on_different_devices_are_errors() {
    let (here, there) = (noise(&[2], 1.0).tensor(&devices()[0]), noise(&[2], 1.0).tensor(&on_gpu()));
    assert!((here.clone() + &there).is_err());
    assert!((there + &here).is_err());
}
