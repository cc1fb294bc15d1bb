//! Opens the device that the command line names (`auto`, `cpu`, `cuda:N`) and multiplies something there.
#![allow(clippy::print_stdout, reason = "an example")]

use ayni::local::ops::{Device, Linear, PrecisionChoice, Tensor};
use ayni::{Environment, Error, ErrorKind};

fn main() -> Result<(), Error> {
    let choice = std::env::args().nth(1).unwrap_or_else(|| "auto".to_owned()).parse()?;
    let device = Device::open(choice, PrecisionChoice::default(), &Environment::process())?;
    let failed = |error: candle_core::Error| Error::new(ErrorKind::DeviceUnavailable, error.to_string());
    let weight = candle_core::Tensor::ones((64, 64), candle_core::DType::F32, &candle_core::Device::Cpu);
    let layer = Linear::new(&device, (weight.map_err(failed)?, None))?;
    let product = layer.forward(Tensor::from_vec(&device, vec![1.0; 64 * 64], [64, 64])?)?;
    println!("{choice}: {device:?}, the sum is {}", product.values()?.iter().sum::<f32>());
    Ok(())
}
