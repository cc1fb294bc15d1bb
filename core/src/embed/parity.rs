//! How close a model's vectors are to those that the same weights make in f32.

use serde::Serialize;

use crate::error::{Error, ErrorKind, Result};

/// How close vectors are to those of f32 on the CPU.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Parity {
    /// The precision that was measured: `f32`, `bf16` or `int8`.
    pub precision: &'static str,
    /// The lowest acceptable cosine: 0.99999 for f32, 0.9995 for bf16, 0.995 for int8.
    pub bar: f64,
    /// The cosine of each probe.
    pub probes: Vec<ProbeParity>,
}

/// How close one vector is to that of f32.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct ProbeParity {
    /// What was embedded: a language, or the number of an image.
    pub name: String,
    /// The cosine between the two vectors; null in JSON if one of them is none.
    #[cfg_attr(feature = "schema", schemars(with = "Option<f64>"))]
    pub cosine: f64,
}

#[cfg(feature = "candle")]
impl ProbeParity {
    pub(crate) fn new(name: impl Into<String>, cosine: f64) -> Self {
        Self { name: name.into(), cosine }
    }
}

impl Parity {
    /// The cosine of each probe, measured in a precision with this bar.
    #[cfg(feature = "candle")]
    pub(crate) fn new(precision: &'static str, bar: f64, probes: Vec<ProbeParity>) -> Self {
        Self { precision, bar, probes }
    }

    /// The probe with the lowest cosine.
    pub fn lowest(&self) -> Option<&ProbeParity> {
        // A cosine that is not a number is the lowest of all.
        let rank = |probe: &ProbeParity| if probe.cosine.is_nan() { f64::NEG_INFINITY } else { probe.cosine };
        self.probes.iter().min_by(|a, b| rank(a).total_cmp(&rank(b)))
    }

    /// Whether every cosine is acceptable.
    pub fn holds(&self) -> bool {
        !self.probes.is_empty() && self.probes.iter().all(|probe| probe.cosine >= self.bar)
    }

    /// Fails unless every cosine is acceptable.
    ///
    /// # Errors
    /// `model_load` naming the precision, the worst probe and what to do.
    pub fn ensure(&self) -> Result<()> {
        match self.lowest() {
            Some(_) if self.holds() => Ok(()),
            Some(worst) => Err(Error::new(
                ErrorKind::ModelLoad,
                format!(
                    "precision '{}' is too coarse for this model: the cosine with f32 is {:.6} for the probe '{}', and \
                     {} is needed. Set `precision` to 'f32'",
                    self.precision, worst.cosine, worst.name, self.bar
                ),
            )),
            None => Err(Error::new(ErrorKind::ModelLoad, "no probe was embedded")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parity(cosines: &[f64]) -> Parity {
        let probe =
            |(index, cosine): (usize, &f64)| ProbeParity { name: format!("p{index}"), cosine: *cosine };
        Parity { precision: "bf16", bar: 0.9995, probes: cosines.iter().enumerate().map(probe).collect() }
    }

    #[test]
    fn a_precision_holds_only_if_every_probe_does() {
        parity(&[0.9995, 1.0]).ensure().unwrap();
        let error = parity(&[1.0, 0.99949, 0.9999]).ensure().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ModelLoad);
        for part in ["'bf16'", "0.999490", "'p1'", "0.9995", "'f32'"] {
            assert!(error.message().contains(part), "{error}");
        }
    }

    #[test]
    fn it_is_written_as_data() {
        let text = serde_json::to_string(&parity(&[0.5])).unwrap();
        assert_eq!(text, r#"{"precision":"bf16","bar":0.9995,"probes":[{"name":"p0","cosine":0.5}]}"#);
    }

    #[test]
    fn nan_and_no_probes_never_hold() {
        let broken = parity(&[1.0, f64::NAN, 0.2]);
        assert!(!broken.holds());
        assert_eq!(broken.lowest().unwrap().name, "p1");
        assert!(broken.ensure().is_err());
        assert!(parity(&[]).ensure().is_err());
    }
}
