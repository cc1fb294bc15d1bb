//! Activations: [`Tensor`].

use std::borrow::Cow;
use std::fmt;
use std::ops::{Add, Deref, Mul, Range};
use std::sync::Arc;

use ayni_kernels::elementwise;
use ayni_kernels::{Cpu, Source};
use candle_core::DType;

use super::error::OrFail;
use super::memory::Memory;
use super::{Device, weights};
use crate::error::{Error, ErrorKind, Result};

/// The most dimensions of a tensor.
const MAX_RANK: usize = 5;

/// How much a thread copies at a time.
const ROWS_BYTES: usize = 1 << 18;

/// Numbers in a model, between one layer and the next: f32 on the CPU, candle's tensor on a GPU.
///
/// Clones and views share their memory; the last one gives it back when it is dropped. Operations take `x` or `&x`: a
/// tensor that is given away is changed in place if nobody else holds its memory, and its memory is free at once.
#[derive(Clone)]
pub struct Tensor {
    device: Device,
    data: Data,
}

#[derive(Clone)]
enum Data {
    Cpu(View),
    Gpu(candle_core::Tensor),
}

/// Where in shared memory a tensor's numbers lie.
#[derive(Clone)]
struct View {
    memory: Arc<Memory>,
    start: usize,
    dims: Dims,
    /// How far apart neighbours are, in each dimension.
    strides: Dims,
}

/// A number for each dimension.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Dims {
    sizes: [usize; MAX_RANK],
    rank: usize,
}

impl Dims {
    fn new(sizes: &[usize]) -> Result<Self> {
        let rank = sizes.len();
        if rank > MAX_RANK {
            return Err(Error::invalid_request(format!("{sizes:?} has more than {MAX_RANK} dimensions")));
        }
        let mut all = [0; MAX_RANK];
        all[..rank].copy_from_slice(sizes);
        Ok(Self { sizes: all, rank })
    }

    /// The strides of a tensor of these dimensions whose numbers lie in order.
    fn strides(&self) -> Self {
        let (mut strides, mut stride) = (*self, 1);
        for (index, size) in self.iter().enumerate().rev() {
            strides.sizes[index] = stride;
            stride *= size;
        }
        strides
    }
}

impl Deref for Dims {
    type Target = [usize];

    fn deref(&self) -> &[usize] {
        &self.sizes[..self.rank]
    }
}

impl View {
    fn is_contiguous(&self) -> bool {
        let strides = self.dims.strides();
        // The stride of a single row counts for nothing.
        self.dims
            .iter()
            .zip(self.strides.iter().zip(strides.iter()))
            .all(|(size, (a, b))| *size == 1 || a == b)
    }

    fn range(&self) -> Range<usize> {
        self.start..self.start + self.count()
    }

    fn count(&self) -> usize {
        self.dims.iter().product()
    }

    /// The numbers of a contiguous view, if nobody else holds the memory.
    fn exclusive(&mut self) -> Option<&mut [f32]> {
        let range = self.range();
        Arc::get_mut(&mut self.memory)?.get_mut(range)
    }
}

/// Copies strided numbers into order.
fn copy_strided(from: &[f32], dims: &[usize], strides: &[usize], to: &mut [f32]) {
    match (dims, strides) {
        ([count], [1]) => to.copy_from_slice(&from[..*count]),
        ([count, dims @ ..], [stride, strides @ ..]) => {
            let size = (to.len() / (*count).max(1)).max(1);
            for (index, to) in to.chunks_exact_mut(size).enumerate() {
                copy_strided(&from[index * stride..], dims, strides, to);
            }
        }
        _ => to.iter_mut().zip(from).for_each(|(to, from)| *to = *from),
    }
}

impl Tensor {
    /// A tensor of these numbers, in order.
    ///
    /// # Errors
    /// `invalid_request` if there are more or fewer than the dimensions say; `out_of_memory` on a GPU.
    pub fn from_vec(device: &Device, values: Vec<f32>, dims: impl AsRef<[usize]>) -> Result<Self> {
        let dims = dims.as_ref();
        if values.len() != dims.iter().product::<usize>() {
            return Err(Error::invalid_request(format!(
                "{dims:?} is not the shape of {} numbers",
                values.len()
            )));
        }
        match device.gpu() {
            Some(gpu) => {
                let moved = candle_core::Tensor::from_vec(values, dims, gpu);
                Self::from_gpu(device, moved.and_then(|x| x.to_dtype(device.dtype())))
            }
            None => Self::of_memory(device, values.into(), dims),
        }
    }

    /// A weight that takes part as activations do, in their dtype: learnt tokens and positions.
    ///
    /// # Errors
    /// `out_of_memory` on a GPU.
    pub fn from_weight(device: &Device, weight: &candle_core::Tensor) -> Result<Self> {
        Self::from_vec(device, weights::numbers(weight)?, weight.dims())
    }

    fn of_memory(device: &Device, memory: Memory, dims: &[usize]) -> Result<Self> {
        let dims = Dims::new(dims)?;
        let view = View { memory: Arc::new(memory), start: 0, dims, strides: dims.strides() };
        Ok(Self { device: device.clone(), data: Data::Cpu(view) })
    }

    /// A tensor on the CPU whose numbers `fill` writes, all of them: it finds whatever an earlier tensor left.
    pub(super) fn build(
        device: &Device,
        dims: impl AsRef<[usize]>,
        fill: impl FnOnce(&mut [f32]) -> Result<()>,
    ) -> Result<Self> {
        let dims = dims.as_ref();
        let mut memory = Memory::take(dims.iter().product());
        fill(&mut memory)?;
        Self::of_memory(device, memory, dims)
    }

    /// What candle computed on the device's GPU.
    pub(super) fn from_gpu(device: &Device, x: candle_core::Result<candle_core::Tensor>) -> Result<Self> {
        Ok(Self { device: device.clone(), data: Data::Gpu(x.or_fail()?) })
    }

    /// candle's tensor, if this one is on a GPU.
    pub(super) fn as_gpu(&self) -> Option<&candle_core::Tensor> {
        match &self.data {
            Data::Gpu(x) => Some(x),
            Data::Cpu(_) => None,
        }
    }

    /// candle's tensor of an operand that must be on the GPU as the others are.
    pub(super) fn expect_gpu(&self, name: &str) -> Result<&candle_core::Tensor> {
        self.as_gpu()
            .ok_or_else(|| Error::invalid_request(format!("{name}: expected on the GPU, found on the CPU")))
    }

    /// The same numbers, and those that are made of them, for layers in int8 that shall not round them to bytes.
    pub fn in_two_steps(mut self) -> Self {
        self.device.has_two_steps = true;
        self
    }

    /// The same numbers, and those that are made of them, with these threads.
    pub(super) fn on(mut self, cpu: &Cpu) -> Self {
        self.device.cpu = cpu.clone();
        self
    }

    /// Where it lies, and where what is made of it will.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The size of each dimension.
    pub fn dims(&self) -> &[usize] {
        match &self.data {
            Data::Cpu(view) => &view.dims,
            Data::Gpu(x) => x.dims(),
        }
    }

    /// The size of each dimension, where it is known how many there are.
    ///
    /// # Errors
    /// `invalid_request` if there are more or fewer.
    pub fn dims_of<const N: usize>(&self) -> Result<[usize; N]> {
        self.dims().try_into().map_err(|_| {
            Error::invalid_request(format!("expected a tensor of {N} dimensions, found {:?}", self.dims()))
        })
    }

    /// How many rows there are, and the length of each: the last dimension.
    pub(super) fn rows(&self, name: &str) -> Result<(usize, usize)> {
        match self.dims() {
            [rows @ .., width] => Ok((rows.iter().product(), *width)),
            [] => Err(Error::invalid_request(format!("{name} has no dimension"))),
        }
    }

    /// Checks the shape.
    pub(super) fn expect_dims(&self, name: &str, expected: &[usize]) -> Result<()> {
        if self.dims() == expected {
            return Ok(());
        }
        Err(Error::invalid_request(format!("{name}: expected {expected:?}, found {:?}", self.dims())))
    }

    /// The numbers in order, as f32 on the CPU; copied only where they lie otherwise.
    ///
    /// # Errors
    /// `unexpected` if a GPU fails.
    pub fn values(&self) -> Result<Cow<'_, [f32]>> {
        match &self.data {
            Data::Cpu(view) if view.is_contiguous() => Ok(Cow::Borrowed(self.cpu_values("the tensor")?)),
            Data::Cpu(_) => Ok(Cow::Owned(self.clone().contiguous()?.cpu_values("the tensor")?.to_vec())),
            Data::Gpu(x) => {
                let flat = x.flatten_all().and_then(|x| x.to_dtype(DType::F32)?.to_vec1());
                flat.map(Cow::Owned).or_fail()
            }
        }
    }

    /// The numbers of a contiguous tensor on the CPU.
    pub(super) fn cpu_values(&self, name: &str) -> Result<&[f32]> {
        match &self.data {
            Data::Cpu(view) => view.memory.get(view.range()).ok_or_else(|| outside(name)),
            Data::Gpu(_) => {
                Err(Error::invalid_request(format!("{name}: expected on the CPU, found on a GPU")))
            }
        }
    }

    /// The numbers on the CPU from the first one on, and the strides of the dimensions.
    pub(super) fn strided(&self, name: &str) -> Result<(&[f32], &[usize])> {
        match &self.data {
            Data::Cpu(view) => {
                // A tensor of no numbers lies nowhere.
                let start = if view.count() == 0 { 0 } else { view.start };
                Ok((view.memory.get(start..).ok_or_else(|| outside(name))?, &view.strides))
            }
            Data::Gpu(_) => {
                Err(Error::invalid_request(format!("{name}: expected on the CPU, found on a GPU")))
            }
        }
    }

    /// The same numbers, in order in memory; copied only if they are not.
    ///
    /// # Errors
    /// `out_of_memory` on a GPU.
    pub(super) fn contiguous(self) -> Result<Self> {
        match &self.data {
            Data::Cpu(view) if view.is_contiguous() => Ok(self),
            Data::Cpu(view) => {
                let (from, strides) = self.strided("the tensor")?;
                Self::build(&self.device, &*view.dims, |to| {
                    copy_strided(from, &view.dims, strides, to);
                    Ok(())
                })
            }
            Data::Gpu(x) => Self::from_gpu(&self.device, x.contiguous()),
        }
    }

    /// The tensor with its numbers changed: in place if nobody else holds its memory, else in a new one of the same
    /// shape. `change` writes all of the numbers that it is given, and reads them from its source.
    pub(super) fn update(
        self,
        change: impl FnOnce(&Cpu, &mut [f32], Source<'_>) -> ayni_kernels::Result<()>,
    ) -> Result<Self> {
        let mut x = self.contiguous()?;
        if let Data::Cpu(view) = &mut x.data
            && let Some(values) = view.exclusive()
        {
            change(&x.device.cpu, values, Source::InPlace).or_fail()?;
            return Ok(x);
        }
        let from = x.cpu_values("the tensor")?;
        Self::build(&x.device, x.dims(), |to| change(&x.device.cpu, to, Source::From(from)).or_fail())
    }

    /// [`update`](Self::update) for what only works in place.
    pub(super) fn update_in_place(
        self,
        change: impl FnOnce(&Cpu, &mut [f32]) -> ayni_kernels::Result<()>,
    ) -> Result<Self> {
        self.update(|cpu, to, source| {
            if let Source::From(from) = source {
                to.copy_from_slice(from);
            }
            change(cpu, to)
        })
    }

    /// The same numbers in another shape.
    ///
    /// # Errors
    /// `invalid_request` if that has another number of them.
    pub fn reshape(self, dims: impl AsRef<[usize]>) -> Result<Self> {
        let dims = dims.as_ref();
        if self.dims().iter().product::<usize>() != dims.iter().product::<usize>() {
            return Err(Error::invalid_request(format!("{:?} cannot be reshaped to {dims:?}", self.dims())));
        }
        if let Data::Gpu(x) = &self.data {
            return Self::from_gpu(&self.device, x.reshape(dims));
        }
        let mut x = self.contiguous()?;
        if let Data::Cpu(view) = &mut x.data {
            view.dims = Dims::new(dims)?;
            view.strides = view.dims.strides();
        }
        Ok(x)
    }

    /// `count` of a dimension from `first` on: a view, nothing is copied.
    ///
    /// # Errors
    /// `invalid_request` if there are not so many.
    pub fn narrow(&self, dim: usize, first: usize, count: usize) -> Result<Self> {
        let size = self.dims().get(dim).copied().unwrap_or(0);
        if first.checked_add(count).is_none_or(|end| end > size) {
            let dims = self.dims();
            return Err(Error::invalid_request(format!(
                "{dims:?} has no {count} from {first} in dimension {dim}"
            )));
        }
        let mut part = self.clone();
        match &mut part.data {
            Data::Gpu(x) => *x = x.narrow(dim, first, count).or_fail()?,
            Data::Cpu(view) => {
                view.start += first * view.strides[dim];
                view.dims.sizes[dim] = count;
            }
        }
        Ok(part)
    }

    /// Some rows of the first dimension, in the order that is given.
    ///
    /// # Errors
    /// `invalid_request` if there is no such row.
    pub fn select_rows(&self, rows: &[u32]) -> Result<Self> {
        let mut dims = self.dims().to_vec();
        let Some(count) = dims.first_mut() else {
            return Err(Error::invalid_request("a single number has no rows"));
        };
        if let Some(row) = rows.iter().find(|row| **row as usize >= *count) {
            return Err(Error::invalid_request(format!("row {row} is past the last of {count}")));
        }
        *count = rows.len();
        if let Data::Gpu(x) = &self.data {
            let selected = candle_core::Tensor::new(rows, x.device())
                .and_then(|rows| x.contiguous()?.index_select(&rows, 0));
            return Self::from_gpu(&self.device, selected);
        }
        let (from, strides) = self.strided("the tensor")?;
        let width: usize = dims[1..].iter().product();
        Self::build(&self.device, &dims, |to| {
            for (to, row) in to.chunks_exact_mut(width.max(1)).zip(rows) {
                copy_strided(&from[*row as usize * strides[0]..], &dims[1..], &strides[1..], to);
            }
            Ok(())
        })
    }

    /// The tensor `count` times, one after another along the first dimension.
    ///
    /// # Errors
    /// `out_of_memory` on a GPU.
    pub fn repeat(&self, count: usize) -> Result<Self> {
        let mut dims = self.dims().to_vec();
        if let Some(first) = dims.first_mut() {
            *first *= count;
        }
        if let Data::Gpu(x) = &self.data {
            let mut times = vec![1; dims.len()];
            times.iter_mut().take(1).for_each(|first| *first = count);
            return Self::from_gpu(&self.device, x.repeat(times));
        }
        let x = self.clone().contiguous()?;
        let from = x.cpu_values("the tensor")?;
        Self::build(&self.device, &dims, |to| {
            to.chunks_exact_mut(from.len().max(1)).for_each(|to| to.copy_from_slice(from));
            Ok(())
        })
    }
}

impl Tensor {
    /// Images with every pixel four times, cut to so many rows and columns.
    ///
    /// # Errors
    /// `invalid_request` for another shape than `[image, row, column, channel]`, or more than twice the size.
    pub fn doubled_to(&self, rows: usize, columns: usize) -> Result<Self> {
        let [images, height, width, channels] = self.dims_of()?;
        if rows > 2 * height || columns > 2 * width {
            return Err(Error::invalid_request(format!(
                "{rows} × {columns} is more than twice {height} × {width}"
            )));
        }
        if let Data::Gpu(x) = &self.data {
            let planes = x
                .permute((0, 3, 1, 2))
                .and_then(|x| x.contiguous()?.upsample_nearest2d(2 * height, 2 * width));
            let cut = planes.and_then(|x| {
                x.permute((0, 2, 3, 1))?.narrow(1, 0, rows)?.narrow(2, 0, columns)?.contiguous()
            });
            return Self::from_gpu(&self.device, cut);
        }
        let x = self.clone().contiguous()?;
        let from = x.cpu_values("the images")?;
        Self::build(&self.device, [images, rows, columns, channels], |to| {
            for (number, to) in to.chunks_exact_mut(channels.max(1)).enumerate() {
                let (image, row, column) =
                    (number / columns / rows, number / columns % rows, number % columns);
                let start = ((image * height + row / 2) * width + column / 2) * channels;
                to.copy_from_slice(&from[start..start + channels]);
            }
            Ok(())
        })
    }

    /// Tensors one after another along the first dimension, the others alike.
    ///
    /// # Errors
    /// `invalid_request` if there are none or they differ otherwise; `out_of_memory` on a GPU.
    pub fn stacked(parts: &[Self]) -> Result<Self> {
        let Some((first, [_, rest @ ..])) = parts.first().map(|first| (first, first.dims())) else {
            return Err(Error::invalid_request("no tensors to put one after another"));
        };
        if let Some(other) = parts.iter().find(|part| part.dims().get(1..) != Some(rest)) {
            let (above, below) = (first.dims(), other.dims());
            return Err(Error::invalid_request(format!("{below:?} cannot stand below {above:?}")));
        }
        if first.as_gpu().is_some() {
            let parts = parts.iter().map(|part| part.expect_gpu("a part")).collect::<Result<Vec<_>>>()?;
            return Self::from_gpu(&first.device, candle_core::Tensor::cat(&parts, 0));
        }
        let values = parts.iter().map(Self::values).collect::<Result<Vec<_>>>()?;
        let rows = parts.iter().map(|part| part.dims()[0]).sum();
        Self::build(&first.device, [&[rows], rest].concat(), |mut to| {
            for values in &values {
                let (here, below) = to.split_at_mut(values.len());
                here.copy_from_slice(values);
                to = below;
            }
            Ok(())
        })
    }

    /// Tensors side by side: their last dimensions one after another, the others alike.
    ///
    /// # Errors
    /// `invalid_request` if there are none or they differ otherwise; `out_of_memory` on a GPU.
    pub fn side_by_side(parts: &[&Self]) -> Result<Self> {
        let Some((first, [leading @ .., _])) = parts.first().map(|first| (first, first.dims())) else {
            return Err(Error::invalid_request("no tensors to put side by side"));
        };
        let widths = parts.iter().map(|part| match part.dims() {
            [others @ .., width] if others == leading => Ok(*width),
            dims => Err(Error::invalid_request(format!("{dims:?} cannot stand beside {:?}", first.dims()))),
        });
        let widths = widths.collect::<Result<Vec<usize>>>()?;
        let width: usize = widths.iter().sum();
        let dims = [leading, &[width]].concat();
        if first.as_gpu().is_some() {
            let parts = parts.iter().map(|part| part.expect_gpu("a part")).collect::<Result<Vec<_>>>()?;
            return Self::from_gpu(&first.device, candle_core::Tensor::cat(&parts, leading.len()));
        }
        let parts = parts.iter().map(|part| (*part).clone().contiguous()).collect::<Result<Vec<_>>>()?;
        let values = parts.iter().map(|part| part.cpu_values("a part")).collect::<Result<Vec<_>>>()?;
        let rows_at_once = (ROWS_BYTES / 4 / width.max(1)).max(1);
        Self::build(&first.device, dims, |to| {
            first.device.cpu.pool.parallel_chunks(to, rows_at_once * width.max(1), |number, to| {
                for (row, mut to) in to.chunks_exact_mut(width.max(1)).enumerate() {
                    for (values, width) in values.iter().zip(&widths) {
                        let (here, rest) = to.split_at_mut(*width);
                        let start = (number * rows_at_once + row) * width;
                        here.copy_from_slice(&values[start..start + width]);
                        to = rest;
                    }
                }
            });
            Ok(())
        })
    }
}

fn outside(name: &str) -> Error {
    Error::new(ErrorKind::Unexpected, format!("{name} is outside its memory"))
}

impl From<&Self> for Tensor {
    fn from(x: &Self) -> Self {
        x.clone()
    }
}

impl Add<&Self> for Tensor {
    type Output = Result<Self>;

    fn add(self, other: &Self) -> Result<Self> {
        other.expect_dims("what is added", self.dims())?;
        if let Data::Gpu(x) = &self.data {
            let other = other.expect_gpu("what is added")?;
            return Self::from_gpu(&self.device, x.add(other));
        }
        let other = other.clone().contiguous()?;
        let values = other.cpu_values("what is added")?;
        self.update_in_place(|cpu, to| elementwise::add_assign(cpu, to, values))
    }
}

impl Mul<f32> for Tensor {
    type Output = Result<Self>;

    fn mul(self, factor: f32) -> Result<Self> {
        if let Data::Gpu(x) = &self.data {
            return Self::from_gpu(&self.device, x * f64::from(factor));
        }
        self.update_in_place(|cpu, to| {
            elementwise::scale(cpu, to, factor);
            Ok(())
        })
    }
}

impl fmt::Debug for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tensor({:?}, {})", self.dims(), self.device.name())
    }
}

#[cfg(test)]
#[path = "tensor_tests.rs"]
mod tests;
