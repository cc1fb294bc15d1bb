//! Where a model computes and in which precision.

use std::fmt;
use std::str::FromStr;

use candle_core::{DType, DeviceLocation};

use crate::env::Environment;
use crate::error::{Error, ErrorKind, Result};
use ayni_kernels::gemm::Precision;
use ayni_kernels::{Cpu, Settings, auto};

/// Where a model is to run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DeviceChoice {
    /// The first GPU where there is one, else the CPU.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// The GPU with this number, and nowhere else.
    Cuda(usize),
}

impl DeviceChoice {
    /// Opens the GPU; `None` is the CPU.
    fn open_gpu(self) -> Result<Option<candle_core::Device>> {
        match self {
            Self::Cpu => Ok(None),
            Self::Cuda(number) => open_cuda(number).map(Some),
            // A driver that fails is not worth failing for where nobody asked for a GPU.
            Self::Auto => Ok(open_cuda(0).ok()),
        }
    }
}

fn open_cuda(number: usize) -> Result<candle_core::Device> {
    let unavailable = |why: String| Error::new(ErrorKind::DeviceUnavailable, why);
    if !cfg!(feature = "cuda") {
        return Err(unavailable(format!(
            "cuda:{number} cannot be used: ayni was built without the `cuda` feature"
        )));
    }
    // candle may panic rather than fail where the driver is damaged.
    match std::panic::catch_unwind(|| candle_core::Device::new_cuda(number)) {
        Ok(Ok(device)) => Ok(device),
        Ok(Err(error)) => {
            Err(unavailable(format!("cuda:{number} cannot be used: {}", reason(&error.to_string()))))
        }
        Err(_) => Err(unavailable(format!("cuda:{number} cannot be used: the driver does not work"))),
    }
}

/// The driver's error in words.
fn reason(text: &str) -> &str {
    if text.contains("CUDA_ERROR_NO_DEVICE") {
        "no GPU or no driver was found"
    } else if text.contains("CUDA_ERROR_INVALID_DEVICE") {
        "there is no GPU with this number"
    } else {
        text.lines().next().unwrap_or(text)
    }
}

impl FromStr for DeviceChoice {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda(0)),
            _ => {
                text.strip_prefix("cuda:").and_then(|number| number.parse().ok()).map(Self::Cuda).ok_or_else(
                    || Error::config(format!("device '{text}' is unknown; valid: auto, cpu, cuda:N")),
                )
            }
        }
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(number) => write!(f, "cuda:{number}"),
        }
    }
}

/// The precision in which a model's linear layers and convolutions are to multiply.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PrecisionChoice {
    /// On the CPU bf16 where it is faster than f32, by a table of CPUs (`ayni_kernels::auto`); else f32.
    #[default]
    Auto,
    /// This one, whether it is fast on this CPU or not.
    Is(Precision),
}

impl PrecisionChoice {
    /// The names of all choices.
    pub(crate) const NAMES: &'static str = "auto, f32, bf16, int8, bf16x3";

    /// The precision that it means on the CPU or on a GPU, and why.
    fn resolve(self, on_gpu: bool, cpu: &Cpu) -> Result<(Precision, &'static str)> {
        match self {
            Self::Is(Precision::Int8) if on_gpu => {
                Err(Error::unsupported("precision 'int8' is for the CPU; valid on a GPU: auto, f32, bf16"))
            }
            Self::Is(Precision::Bf16x3) if on_gpu || !cpu.isa.has_tiles() => Err(Error::unsupported(
                "precision 'bf16x3' is for CPUs with AMX; valid here: auto, f32, bf16, and on a CPU int8",
            )),
            Self::Is(precision) => Ok((precision, "the configuration says so")),
            Self::Auto if !on_gpu => {
                let choice = auto::fastest(cpu.isa);
                Ok((choice.precision, choice.reason))
            }
            Self::Auto => Ok((Precision::F32, "on a GPU `auto` is f32")),
        }
    }
}

impl FromStr for PrecisionChoice {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        if text == "auto" {
            return Ok(Self::Auto);
        }
        let found = Precision::ALL.iter().copied().find(|precision| precision.name() == text);
        found
            .map(Self::Is)
            .ok_or_else(|| Error::config(format!("precision '{text}' is unknown; valid: {}", Self::NAMES)))
    }
}

impl fmt::Display for PrecisionChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Is(precision) => f.write_str(precision.name()),
        }
    }
}

/// The CPU as `AYNI_ISA` (an instruction set) and `AYNI_THREADS` ask for it; by default its best instruction set, and
/// as many threads as the process may use.
///
/// # Errors
/// `config_invalid` if either is wrong, or if this process already computes with another number of threads.
pub fn cpu(env: &Environment) -> Result<Cpu> {
    let settings =
        Settings::default().with_isa(env.get("AYNI_ISA")).with_threads(env.number("AYNI_THREADS")?);
    Cpu::open(&settings).map_err(|error| Error::config(format!("AYNI_ISA or AYNI_THREADS: {error}")))
}

/// Where and how a model computes: the CPU with our kernels, or a GPU with candle. Layers are built on a device, and
/// every tensor knows its own. (`candle_core::Device` is only where memory is.) Cheap to clone.
#[derive(Clone, Debug)]
pub struct Device {
    gpu: Option<candle_core::Device>,
    /// What linear layers, convolutions and attention multiply in.
    pub precision: Precision,
    /// Whether activations are multiplied with weights in int8 in two steps, so that they are not rounded to bytes.
    pub(super) has_two_steps: bool,
    /// Why it is this precision: a sentence for people.
    pub precision_reason: &'static str,
    /// The CPU's instruction set and threads: what computes where there is no GPU.
    pub cpu: Cpu,
}

impl Device {
    /// Opens a device and settles the precision.
    ///
    /// # Errors
    /// `device_unavailable` for a GPU that is not there, does not work, or that this build cannot use; `unsupported`
    /// for a precision that the device lacks; `config_invalid` for a wrong `AYNI_ISA` or `AYNI_THREADS`.
    pub fn open(device: DeviceChoice, precision: PrecisionChoice, env: &Environment) -> Result<Self> {
        let (gpu, cpu) = (device.open_gpu()?, cpu(env)?);
        let (precision, precision_reason) = precision.resolve(gpu.is_some(), &cpu)?;
        Ok(Self { gpu, precision, has_two_steps: false, precision_reason, cpu })
    }

    /// The CPU with a given instruction set and threads: for tests and measurements.
    pub fn on_cpu(cpu: Cpu, precision: Precision) -> Self {
        Self { gpu: None, precision, has_two_steps: false, precision_reason: "it was asked for", cpu }
    }

    /// What a GPU would do, by candle's operations on the CPU.
    #[cfg(test)]
    pub(crate) fn as_on_gpu(cpu: Cpu, precision: Precision) -> Self {
        Self { gpu: Some(candle_core::Device::Cpu), ..Self::on_cpu(cpu, precision) }
    }

    /// The same device in another precision.
    pub fn with_precision(&self, precision: Precision) -> Self {
        Self { precision, ..self.clone() }
    }

    /// The same device with another reason for its precision.
    pub fn with_precision_reason(&self, reason: &'static str) -> Self {
        Self { precision_reason: reason, ..self.clone() }
    }

    /// Whether the kernels compute, and not a GPU.
    pub fn is_cpu(&self) -> bool {
        self.gpu.is_none()
    }

    /// Where candle's tensors are.
    pub(crate) fn of_candle(&self) -> candle_core::Device {
        self.gpu.clone().unwrap_or(candle_core::Device::Cpu)
    }

    /// The GPU, as candle has it.
    pub(super) fn gpu(&self) -> Option<&candle_core::Device> {
        self.gpu.as_ref()
    }

    /// The device, as a configuration names it.
    pub fn name(&self) -> String {
        match self.gpu.as_ref().map(candle_core::Device::location) {
            None | Some(DeviceLocation::Cpu) => DeviceChoice::Cpu.to_string(),
            Some(DeviceLocation::Cuda { gpu_id }) => DeviceChoice::Cuda(gpu_id).to_string(),
            Some(DeviceLocation::Metal { gpu_id }) => format!("metal:{gpu_id}"),
        }
    }

    /// The dtype of activations: f32 on the CPU whatever the weights are; on a GPU that of the precision.
    pub(super) fn dtype(&self) -> DType {
        match self.precision {
            Precision::Bf16 if !self.is_cpu() => DType::BF16,
            _ => DType::F32,
        }
    }

    /// Bytes of a layer's weight.
    pub fn weight_bytes(&self) -> usize {
        match self.precision {
            Precision::F32 | Precision::Bf16x3 => 4,
            Precision::Bf16 => 2,
            Precision::Int8 => 1,
        }
    }

    /// The precision for layers that cost little time and lose too much in int8: the device's, but the faster of bf16
    /// and f32 instead of int8.
    pub fn precision_above_int8(&self) -> Precision {
        match self.precision {
            Precision::Int8 => auto::fastest(self.cpu.isa).precision,
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ayni_kernels::Isa;

    #[test]
    fn devices_and_precisions_read_back_as_they_are_written() {
        for text in ["auto", "cpu", "cuda:0", "cuda:3"] {
            assert_eq!(text.parse::<DeviceChoice>().unwrap().to_string(), text);
        }
        for text in PrecisionChoice::NAMES.split(", ") {
            assert_eq!(text.parse::<PrecisionChoice>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_misspelt_choice_is_an_error_that_lists_the_valid_ones() {
        for text in ["gpu", "cuda:", "cuda:x", "CPU", ""] {
            let error = text.parse::<DeviceChoice>().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConfigInvalid, "{text}");
            assert!(error.message().contains("cuda:N"), "{error}");
        }
        assert_eq!("fp16".parse::<PrecisionChoice>().unwrap_err().kind(), ErrorKind::ConfigInvalid);
    }

    #[test]
    fn a_gpu_that_is_not_there_is_an_error_and_never_the_cpu() {
        // No machine has so many; without the feature, no number works.
        let error = DeviceChoice::Cuda(1000).open_gpu().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::DeviceUnavailable);
        assert!(error.message().starts_with("cuda:1000 cannot be used: "), "{error}");
        assert!(!error.message().contains('\n'), "{error}");
    }

    #[test]
    fn an_error_of_the_driver_is_put_into_words() {
        let text = "DriverError(CUDA_ERROR_NO_DEVICE, \"no CUDA-capable device is detected\")";
        assert_eq!(reason(text), "no GPU or no driver was found");
        assert_eq!(reason("something else\nbacktrace"), "something else");
    }

    #[test]
    fn auto_precision_is_the_fastest_on_this_cpu() {
        for isa in Isa::available() {
            let cpu = Cpu::new(isa, 1);
            let wanted = auto::fastest(isa).precision;
            let (found, reason) = PrecisionChoice::Auto.resolve(false, &cpu).unwrap();
            assert_eq!(found, wanted);
            assert_eq!(reason, auto::fastest(isa).reason);
            let int8 = PrecisionChoice::Is(Precision::Int8);
            assert_eq!(int8.resolve(false, &cpu).unwrap().0, Precision::Int8);
            assert_eq!(int8.resolve(true, &cpu).unwrap_err().kind(), ErrorKind::Unsupported);
            let bf16x3 = PrecisionChoice::Is(Precision::Bf16x3);
            assert_eq!(bf16x3.resolve(false, &cpu).is_ok(), isa.has_tiles());
            assert_eq!(bf16x3.resolve(true, &cpu).unwrap_err().kind(), ErrorKind::Unsupported);
        }
    }

    #[test]
    fn activations_on_the_cpu_are_f32_whatever_the_weights_are() {
        for precision in Precision::ALL.iter().copied() {
            assert_eq!(Device::on_cpu(Cpu::new(Isa::PORTABLE, 1), precision).dtype(), DType::F32);
        }
    }
}
