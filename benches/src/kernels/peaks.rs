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
                if let Some(speed) = multiply_speed(bench, &cpu, instruction) {
                    let threads = pool.threads();
                    let figure = format!("peak_{}_{isa}_{threads}t", name(instruction));
                    bench.report.figure(&figure, speed, "Gop/s", Target::None);
                    bench.peaks.push((format!("{}, {isa}, {threads} threads", name(instruction)), speed));
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

/// The fastest of the instructions that can do the work of one: itself, and those of wider numbers.
pub(super) fn fastest(cpu: &Cpu, wanted: Instruction) -> Instruction {
    let mut best = (wanted, 0.0);
    for instruction in Instruction::ALL.iter().copied() {
        let speed = speed_of(cpu, instruction, 5).unwrap_or(0.0);
        if speed > best.1 {
            best = (instruction, speed);
        }
        if instruction == wanted {
            break;
        }
    }
    best.0
}

fn multiply_speed(bench: &Bench, cpu: &Cpu, instruction: Instruction) -> Option<f64> {
    speed_of(cpu, instruction, if bench.quick { 5 } else { 15 })
}

fn speed_of(cpu: &Cpu, instruction: Instruction, turns: usize) -> Option<f64> {
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
