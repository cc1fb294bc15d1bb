#!/usr/bin/env python3
"""Builds stand-ins for NVIDIA's libraries, to link against in their place.

usage: cuda_stubs.py CUDARC_SOURCES LIBRARY_FOLDER

A program linked with `-lcuda` does not start on a machine without a driver. The stand-in is a static library with a
jump for every function that the crate `cudarc` declares: the first call loads the real library with `dlopen`, looks
the function up and remembers it. Without the library, functions return the status that means "not there", and those
that return a text return one that says so. `libNAME.so` becomes a linker script that names the static library.
"""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

# Crate module, name for the linker, name for dlopen, the status that says that it is not there.
LIBRARIES = [
    ("driver", "cuda", "libcuda.so.1", 100),  # CUDA_ERROR_NO_DEVICE
    ("cublas", "cublas", "libcublas.so.13", 1),  # CUBLAS_STATUS_NOT_INITIALIZED
    ("cublaslt", "cublasLt", "libcublasLt.so.13", 1),  # CUBLAS_STATUS_NOT_INITIALIZED
    ("curand", "curand", "libcurand.so.10", 203),  # CURAND_STATUS_INITIALIZATION_FAILED
    ("nvrtc", "nvrtc", "libnvrtc.so.13", 7),  # NVRTC_ERROR_BUILTIN_OPERATION_FAILURE
]

DECLARATION = re.compile(r"^pub unsafe fn (\w+)\([^{]*?\)(?: -> ([^{]+?))? \{$", re.M)

# What the crate itself defines beside the declarations.
CRATE_OWN = {"load", "culib", "is_culib_present"}

# Saves every register that may hold an argument, asks `resolve` for the function and jumps there.
COMMON = """
ayni_{name}_common:
    pushq %rbp
    movq %rsp, %rbp
    pushq %rdi
    pushq %rsi
    pushq %rdx
    pushq %rcx
    pushq %r8
    pushq %r9
    pushq %rax
    subq $128, %rsp
    andq $-16, %rsp
{save}
    movq 8(%rbp), %rdi
    call ayni_{name}_resolve
    movq %rax, %r11
{restore}
    leaq -56(%rbp), %rsp
    popq %rax
    popq %r9
    popq %r8
    popq %rcx
    popq %rdx
    popq %rsi
    popq %rdi
    popq %rbp
    addq $8, %rsp
    jmp *%r11
"""

RESOLVER = """
#include <dlfcn.h>
#include <stddef.h>

extern void *ayni_{name}_slots[] __attribute__((visibility("hidden")));

static const char *const names[] = {{
{names}
}};
static const char returns_text[] = {{{texts}}};

static long missing_status(void) {{ return {status}; }}
static const char *missing_text(void) {{ return "{soname} could not be loaded"; }}

/* Two threads may both get here for one function: both find the same, and dlopen counts. */
__attribute__((visibility("hidden"))) void *ayni_{name}_resolve(long function) {{
    void *library = dlopen("{soname}", RTLD_NOW | RTLD_GLOBAL);
    void *found = library ? dlsym(library, names[function]) : NULL;
    if (!found)
        return returns_text[function] ? (void *)missing_text : (void *)missing_status;
    __atomic_store_n(&ayni_{name}_slots[function], found, __ATOMIC_RELEASE);
    return found;
}}
"""


def functions(source: str) -> list[tuple[str, bool]]:
    """Every function that is declared, and whether it returns a pointer."""
    declared = {name: (result or "").startswith("*") for name, result in DECLARATION.findall(source)}
    return sorted((name, text) for name, text in declared.items() if name not in CRATE_OWN)


def assembly(name: str, names: list[str]) -> str:
    lines = ["    .text"]
    for number, function in enumerate(names):
        lines += [
            f"    .globl {function}",
            f"    .type {function}, @function",
            f"{function}:",
            f"    movq ayni_{name}_slots+{8 * number}(%rip), %r11",
            "    jmp *%r11",
            f"    .size {function}, .-{function}",
            f".Lfirst_{number}:",
            f"    pushq ${number}",
            f"    jmp ayni_{name}_common",
        ]
    registers = [(f"{16 * i}(%rsp)", f"%xmm{i}") for i in range(8)]
    save = "\n".join(f"    movups {register}, {place}" for place, register in registers)
    restore = "\n".join(f"    movups {place}, {register}" for place, register in registers)
    lines.append(COMMON.format(name=name, save=save, restore=restore))
    lines += ["    .data", "    .align 8", f"    .globl ayni_{name}_slots", f"    .hidden ayni_{name}_slots"]
    lines.append(f"ayni_{name}_slots:")
    lines += [f"    .quad .Lfirst_{number}" for number in range(len(names))]
    lines.append('    .section .note.GNU-stack,"",@progbits')
    return "\n".join(lines) + "\n"


def build(source: Path, folder: Path, name: str, soname: str, status: int) -> int:
    declared = functions(source.read_text(encoding="utf-8"))
    names = [function for function, _ in declared]
    resolver = RESOLVER.format(
        name=name,
        soname=soname,
        status=status,
        names="\n".join(f'    "{function}",' for function in names),
        texts=", ".join(str(int(text)) for _, text in declared),
    )
    with tempfile.TemporaryDirectory() as work:
        objects = []
        for file, content in (("jumps.S", assembly(name, names)), ("resolve.c", resolver)):
            path = Path(work, file)
            path.write_text(content, encoding="utf-8")
            objects.append(str(path.with_suffix(".o")))
            subprocess.run(["cc", "-c", "-O2", "-fPIC", str(path), "-o", objects[-1]], check=True)
        archive = folder / f"libayni_{name}_stub.a"
        archive.unlink(missing_ok=True)
        subprocess.run(["ar", "rcsD", str(archive), *objects], check=True)
    (folder / f"lib{name}.so").write_text(f"INPUT(-layni_{name}_stub)\n", encoding="ascii")
    return len(names)


def main() -> None:
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    sources, folder = map(Path, sys.argv[1:])
    counts = []
    for module, name, soname, status in LIBRARIES:
        count = build(sources / module / "sys" / "mod.rs", folder, name, soname, status)
        if not count:
            sys.exit(f"no function of {name} was found in {sources}")
        counts.append(f"{name} {count}")
    # The runtime that nvcc's own code needs is linked in; it loads the driver by itself.
    (folder / "libcudart.so").write_text("INPUT(-lcudart_static)\n", encoding="ascii")
    print("stubs: " + ", ".join(counts))


if __name__ == "__main__":
    main()
