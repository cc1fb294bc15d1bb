//! What the CPU can do: each instruction on registers alone, and reading.

use std::time::Instant;

use ayni_kernels::KernelError;
use ayni_kernels::peak::{self, Instruction};
use ayni_kernels::{Cpu, Isa, Pool};

use super::measure::Bench;
use crate::report::{Target, median};

/// Prints the peaks of every instruction set, with one thread and with all.
pub(super) fn run(bench: &mut Bench) -> Result<(), KernelError> {
    if !bench.wants("peak") {
        return Ok(());
    }
    let all = bench.cpu.pool.clone();
    let mut pools = vec![Pool::new(1)];
    if all.threads() > 1 {
        pools.push(all);
    }
    for pool in pools {
        for isa in Isa::available() {
            let cpu = Cpu { isa, pool: pool.clone() };
            for instruction in Instruction::ALL.iter().copied() {
                let name = format!("peak_{}_{isa}_{}t", name(instruction), pool.threads());
                if let Some(speed) = multiply_speed(bench, &cpu, instruction) {
                    bench.report.figure(&name, speed, "Gop/s", Target::None);
                }
            }
        }
        let cpu = Cpu { isa: bench.cpu.isa, pool };
        let speed = read_speed(bench, &cpu);
        bench.report.figure(&format!("read_memory_{}t", cpu.pool.threads()), speed, "GB/s", Target::None);
    }
    Ok(())
}

/// What an instruction is called in figures.
pub(super) const fn name(instruction: Instruction) -> &'static str {
    match instruction {
        Instruction::MultiplyAdd => "f32",
        Instruction::Bf16Dot => "bf16",
        Instruction::ByteDot => "int8",
    }
}

fn multiply_speed(bench: &Bench, cpu: &Cpu, instruction: Instruction) -> Option<f64> {
    let turns = if bench.quick { 5 } else { 15 };
    let mut speeds = Vec::new();
    for _ in 0..turns {
        let start = Instant::now();
        let operations = peak::multiply(cpu, instruction, 200_000)?;
        #[allow(clippy::cast_precision_loss, reason = "far below 2⁵³")]
        speeds.push(operations as f64 / start.elapsed().as_secs_f64() / 1e9);
    }
    Some(median(speeds))
}

fn read_speed(bench: &mut Bench, cpu: &Cpu) -> f64 {
    let turns = if bench.quick { 5 } else { 15 };
    let memory = bench.large_memory();
    let mut speeds = Vec::new();
    for _ in 0..turns {
        let start = Instant::now();
        std::hint::black_box(peak::read(cpu, memory));
        #[allow(clippy::cast_precision_loss, reason = "far below 2⁵³")]
        speeds.push(size_of_val(memory) as f64 / start.elapsed().as_secs_f64() / 1e9);
    }
    median(speeds)
}
