//! Where a model runs and in which numbers.

use std::fmt;
use std::str::FromStr;

use candle_core::{DType, Device, DeviceLocation};

use crate::env::Environment;
use crate::error::{Error, ErrorKind, Result};
use ayni_kernels::gemm::Precision;
use ayni_kernels::{Cpu, Settings};

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
    /// Opens the device.
    ///
    /// # Errors
    /// `device_unavailable` for a GPU that is not there, does not work, or that this build cannot use.
    pub fn open(self) -> Result<Device> {
        match self {
            Self::Cpu => Ok(Device::Cpu),
            Self::Cuda(number) => open_cuda(number),
            // A driver that fails is not worth failing for where nobody asked for a GPU.
            Self::Auto => Ok(open_cuda(0).unwrap_or(Device::Cpu)),
        }
    }
}

fn open_cuda(number: usize) -> Result<Device> {
    let unavailable = |why: String| Error::new(ErrorKind::DeviceUnavailable, why);
    if !cfg!(feature = "cuda") {
        return Err(unavailable(format!(
            "cuda:{number} cannot be used: ayni was built without the `cuda` feature"
        )));
    }
    // candle may panic rather than fail where the driver is damaged.
    match std::panic::catch_unwind(|| Device::new_cuda(number)) {
        Ok(Ok(device)) => Ok(device),
        Ok(Err(error)) => {
            Err(unavailable(format!("cuda:{number} cannot be used: {}", reason(&error.to_string()))))
        }
        Err(_) => Err(unavailable(format!("cuda:{number} cannot be used: the driver does not work"))),
    }
}

/// What the driver means, for those who can mend it.
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

/// In which numbers a model's linear layers and convolutions are to multiply.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PrecisionChoice {
    /// bf16 on CPUs that multiply it in one instruction, else f32.
    #[default]
    Auto,
    /// This one, whether it is quick here or not.
    Is(Precision),
}

impl PrecisionChoice {
    /// What it comes to on a device.
    fn resolve(self, device: &Device, cpu: &Cpu) -> Result<Precision> {
        match (self, device) {
            (Self::Is(Precision::Int8), Device::Cuda(_)) => {
                Err(Error::unsupported("precision 'int8' is for the CPU; valid on a GPU: auto, f32, bf16"))
            }
            (Self::Is(precision), _) => Ok(precision),
            (Self::Auto, Device::Cpu) if cpu.isa.has_bf16_dot() => Ok(Precision::Bf16),
            (Self::Auto, _) => Ok(Precision::F32),
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
        found.map(Self::Is).ok_or_else(|| {
            Error::config(format!("precision '{text}' is unknown; valid: auto, f32, bf16, int8"))
        })
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

/// The CPU as `AYNI_ISA` (an instruction set) and `AYNI_THREADS` ask for it: by default its best instruction set, and as
/// many threads as the process may use.
///
/// # Errors
/// `config_invalid` if either is wrong, or if this process computes with another number of threads already.
pub fn cpu(env: &Environment) -> Result<Cpu> {
    let settings =
        Settings::default().with_isa(env.get("AYNI_ISA")).with_threads(env.number("AYNI_THREADS")?);
    Cpu::open(&settings).map_err(|error| Error::config(format!("AYNI_ISA or AYNI_THREADS: {error}")))
}

/// Where and how a loaded model computes: the first argument of what builds layers. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Place {
    /// Where tensors lie.
    pub device: Device,
    /// What multiplies linear layers and convolutions.
    pub precision: Precision,
    /// What computes where the device is the CPU.
    pub cpu: Cpu,
}

impl Place {
    /// Opens the device and settles the precision.
    ///
    /// # Errors
    /// `device_unavailable` for a GPU that cannot be used, `unsupported` for a precision that the device lacks,
    /// `config_invalid` for a wrong `AYNI_ISA` or `AYNI_THREADS`.
    pub fn open(device: DeviceChoice, precision: PrecisionChoice, env: &Environment) -> Result<Self> {
        let (device, cpu) = (device.open()?, cpu(env)?);
        let precision = precision.resolve(&device, &cpu)?;
        Ok(Self { device, precision, cpu })
    }

    /// The CPU with an instruction set and threads of one's own choice: for tests and measurements.
    pub fn on_cpu(cpu: Cpu, precision: Precision) -> Self {
        Self { device: Device::Cpu, precision, cpu }
    }

    /// The device, as a configuration names it.
    pub fn device_name(&self) -> String {
        match self.device.location() {
            DeviceLocation::Cpu => DeviceChoice::Cpu.to_string(),
            DeviceLocation::Cuda { gpu_id } => DeviceChoice::Cuda(gpu_id).to_string(),
            DeviceLocation::Metal { gpu_id } => format!("metal:{gpu_id}"),
        }
    }

    /// What activations are made of: f32 on the CPU whatever the weights are; on a GPU as the precision says.
    pub fn dtype(&self) -> DType {
        match (&self.device, self.precision) {
            (Device::Cpu, _) | (_, Precision::F32 | Precision::Int8) => DType::F32,
            (_, Precision::Bf16) => DType::BF16,
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
        for text in ["auto", "f32", "bf16", "int8"] {
            assert_eq!(text.parse::<PrecisionChoice>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_misspelt_is_an_error_that_lists_the_valid_ones() {
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
        let error = DeviceChoice::Cuda(1000).open().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::DeviceUnavailable);
        assert!(error.message().starts_with("cuda:1000 cannot be used: "), "{error}");
        assert!(!error.message().contains('\n'), "{error}");
    }

    #[test]
    fn what_the_driver_means_is_said_in_words() {
        let text = "DriverError(CUDA_ERROR_NO_DEVICE, \"no CUDA-capable device is detected\")";
        assert_eq!(reason(text), "no GPU or no driver was found");
        assert_eq!(reason("something else\nbacktrace"), "something else");
    }

    #[test]
    fn auto_precision_is_bf16_only_where_the_cpu_multiplies_it_at_once() {
        for isa in Isa::available() {
            let cpu = Cpu::new(isa, 1);
            let wanted = if isa.has_bf16_dot() { Precision::Bf16 } else { Precision::F32 };
            assert_eq!(PrecisionChoice::Auto.resolve(&Device::Cpu, &cpu).unwrap(), wanted);
            let int8 = PrecisionChoice::Is(Precision::Int8);
            assert_eq!(int8.resolve(&Device::Cpu, &cpu).unwrap(), Precision::Int8);
        }
    }

    #[test]
    fn activations_on_the_cpu_are_f32_whatever_the_weights_are() {
        for precision in Precision::ALL.iter().copied() {
            assert_eq!(Place::on_cpu(Cpu::new(Isa::PORTABLE, 1), precision).dtype(), DType::F32);
        }
    }
}
