//! Opens the device that the command line names (`auto`, `cpu`, `cuda:N`) and multiplies something there.
#![allow(clippy::print_stdout, reason = "an example")]

use ayni::local::ops::{Place, PrecisionChoice};
use ayni::{Environment, Error, ErrorKind};
use candle_core::Tensor;

fn main() -> Result<(), Error> {
    let device = std::env::args().nth(1).unwrap_or_else(|| "auto".to_owned()).parse()?;
    let place = Place::open(device, PrecisionChoice::default(), &Environment::process())?;
    let failed = |error: candle_core::Error| Error::new(ErrorKind::DeviceUnavailable, error.to_string());
    let ones = Tensor::ones((64, 64), place.dtype(), &place.device).map_err(failed)?;
    let sum = ones
        .matmul(&ones)
        .and_then(|product| product.sum_all()?.to_dtype(candle_core::DType::F32)?.to_scalar::<f32>());
    println!("{device}: {place:?}, the sum is {}", sum.map_err(failed)?);
    Ok(())
}
