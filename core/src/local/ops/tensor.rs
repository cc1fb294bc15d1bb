//! Between candle's tensors and the kernels' slices.

use std::cell::RefCell;

use ayni_kernels::KernelError;
use candle_core::{CpuStorage, DType, Device, InplaceOp1, Layout, Shape, Storage, Tensor};

use super::recycling;
use crate::error::{Error, ErrorKind, Result};

/// candle's errors as ours. Shapes are checked before candle sees them, so what it reports is a device that failed or
/// a defect.
pub(crate) fn of_candle(error: candle_core::Error) -> Error {
    let text = error.to_string();
    let line = text.lines().next().unwrap_or_default().to_owned();
    let kind = if line.contains("OUT_OF_MEMORY") { ErrorKind::OutOfMemory } else { ErrorKind::Unexpected };
    Error::new(kind, format!("a tensor operation failed: {line}")).with_source(error)
}

/// What a kernel refuses, as an error of ours.
pub(crate) fn of_kernel(error: KernelError) -> Error {
    let kind = match error {
        KernelError::Unsupported(_) => ErrorKind::Unsupported,
        KernelError::Settings(_) => ErrorKind::ConfigInvalid,
        _ => ErrorKind::InvalidRequest,
    };
    Error::new(kind, error.to_string())
}

/// `Result`s of candle and of the kernels as ours.
pub(crate) trait OrFail<T> {
    /// The value, or their error as ours.
    fn or_fail(self) -> Result<T>;
}

impl<T> OrFail<T> for candle_core::Result<T> {
    fn or_fail(self) -> Result<T> {
        self.map_err(of_candle)
    }
}

impl<T> OrFail<T> for ayni_kernels::Result<T> {
    fn or_fail(self) -> Result<T> {
        self.map_err(of_kernel)
    }
}

/// Whether the kernels compute this tensor.
pub(super) fn is_on_cpu(x: &Tensor) -> bool {
    matches!(x.device(), Device::Cpu)
}

/// The numbers of an f32 tensor on the CPU, in order; copied only if they lie in another.
pub(crate) fn with_values<R>(name: &str, x: &Tensor, work: impl FnOnce(&[f32]) -> Result<R>) -> Result<R> {
    if x.dtype() != DType::F32 {
        let dtype = x.dtype().as_str();
        return Err(Error::invalid_request(format!("{name} is {dtype}; on the CPU it must be f32")));
    }
    let x = x.contiguous().or_fail()?;
    let (storage, layout) = x.storage_and_layout();
    let Storage::Cpu(storage) = &*storage else {
        return Err(Error::invalid_request(format!("{name} is not on the CPU, as the others are")));
    };
    let all = storage.as_slice::<f32>().or_fail()?;
    let range = layout.contiguous_offsets().and_then(|(start, end)| all.get(start..end));
    let range =
        range.ok_or_else(|| Error::new(ErrorKind::Unexpected, "a tensor does not lie in its storage"))?;
    work(range)
}

/// The same for a tensor that may be missing.
pub(super) fn with_some_values<R>(
    name: &str,
    x: Option<&Tensor>,
    work: impl FnOnce(Option<&[f32]>) -> Result<R>,
) -> Result<R> {
    match x {
        Some(x) => with_values(name, x, |x| work(Some(x))),
        None => work(None),
    }
}

/// A tensor on the CPU whose numbers `fill` writes, all of them: it finds whatever an earlier tensor left.
pub(super) fn filled(shape: impl Into<Shape>, fill: impl FnOnce(&mut [f32]) -> Result<()>) -> Result<Tensor> {
    let shape = shape.into();
    let mut values = recycling::take(shape.elem_count());
    fill(&mut values)?;
    Tensor::from_vec(values, shape, &Device::Cpu).or_fail()
}

/// Leaves the memory of a tensor that nobody reads any more to the next ones that this thread makes. New memory of
/// this size would come from the operating system page by page, which takes longer than many a layer. Clones and
/// views of the tensor are empty afterwards, and an error to read.
pub(crate) fn recycle(x: Tensor) {
    if is_on_cpu(&x) && x.dtype() == DType::F32 {
        // What cannot be taken is freed as usual.
        let _ = x.inplace_op1(&recycling::Take);
    }
}

/// The tensor with its numbers, f32 on the CPU, changed where they lie. It is taken over because its clones and views
/// change too: only for what a layer has just made.
pub(super) fn changed(name: &str, x: Tensor, change: impl Fn(&mut [f32]) -> Result<()>) -> Result<Tensor> {
    if x.dtype() != DType::F32 {
        let dtype = x.dtype().as_str();
        return Err(Error::invalid_request(format!("{name} is {dtype}; on the CPU it must be f32")));
    }
    let x = x.contiguous().or_fail()?;
    let change = Change { change, failure: RefCell::new(None) };
    let done = x.inplace_op1(&change);
    match change.failure.into_inner() {
        Some(failure) => Err(failure),
        None => done.or_fail().map(|()| x),
    }
}

/// What [`changed`] does, and how it failed.
struct Change<C> {
    change: C,
    failure: RefCell<Option<Error>>,
}

impl<C: Fn(&mut [f32]) -> Result<()>> InplaceOp1 for Change<C> {
    fn name(&self) -> &'static str {
        "change"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> candle_core::Result<()> {
        let CpuStorage::F32(values) = storage else {
            candle_core::bail!("a tensor changed its kind of numbers");
        };
        let range = layout.contiguous_offsets().and_then(|(start, end)| values.get_mut(start..end));
        match range {
            Some(values) => {
                *self.failure.borrow_mut() = (self.change)(values).err();
                Ok(())
            }
            None => candle_core::bail!("a tensor does not lie in its storage"),
        }
    }
}

/// The length of the last dimension, and how many rows of it there are.
pub(super) fn rows(name: &str, x: &Tensor) -> Result<(usize, usize)> {
    let width = x.dims().last().copied();
    let width = width.ok_or_else(|| Error::invalid_request(format!("{name} has no dimension")))?;
    Ok((x.dims().iter().rev().skip(1).product(), width))
}

/// Checks a shape.
pub(super) fn expect(name: &str, x: &Tensor, dims: &[usize]) -> Result<()> {
    if x.dims() == dims {
        return Ok(());
    }
    Err(Error::invalid_request(format!("{name} is {:?}, not {dims:?}", x.dims())))
}
