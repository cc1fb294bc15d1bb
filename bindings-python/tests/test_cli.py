"""The command line as people type it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from serving import KEPT, serving

import ayni
from ayni.cli import parser


def ayni_command(*arguments, env=None, given=None):
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    command = [sys.executable, "-m", "ayni", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=kept | (env or {}), input=given, timeout=60)


SERVICES = ("clip", "triage", "procurement", "images", "openai")


@pytest.mark.parametrize("words", [[], ["chat"], ["pull"], ["image"], ["embed"], ["models"], ["doctor"], ["serve"], *(["serve", name] for name in SERVICES)])
def test_everything_explains_itself(words):
    told = ayni_command(*words, "--help")
    assert told.returncode == 0 and told.stdout.startswith(f"usage: {' '.join(['ayni', *words])}")
    assert "API_KEY" in told.stdout or len(words) < 2


def test_the_version_is_the_one_of_the_wheel():
    assert ayni_command("--version").stdout.strip() == f"ayni {ayni.__version__}"


def test_lines_and_images_are_embedded(tmp_path):
    env = {"EMBEDDING_PROVIDER": "scripted"}
    (tmp_path / "texts.txt").write_text("hola\nñandú\n", encoding="utf-8")
    for told in (ayni_command("embed", str(tmp_path / "texts.txt"), env=env), ayni_command("embed", "-", env=env, given="hola\nñandú\n")):
        rows = [json.loads(line) for line in told.stdout.splitlines()]
        expected = ayni.Embedder(backend="scripted").embed_sync(["hola", "ñandú"]).vectors.tolist()
        assert [row["index"] for row in rows] == [0, 1] and [row["embedding"] for row in rows] == expected
    image = ayni.ImageGenerator(backend="scripted").generate_sync("x").image
    image.save(tmp_path / "x.png")
    [row] = ayni_command("embed", str(tmp_path / "x.png"), env=env).stdout.splitlines()
    assert json.loads(row)["embedding"] == ayni.Embedder(backend="scripted").embed_sync([image.data]).vectors[0].tolist()


@pytest.mark.parametrize(
    "words, why",
    [
        (["embed", "nowhere.txt", "--model", "nowhere"], "nowhere"),
        (["embed", "-"], "EMBEDDING_PROVIDER is not set"),
        (["chat", "nowhere.gguf"], "nowhere.gguf"),
        (["pull", "nowhere"], "nowhere"),
        (["image", "a fox", "--model", "/nowhere"], "/nowhere"),
        (["image", "a fox", "-o", "fox.gif"], ".png, .jpg, .webp"),
        (["image", "a fox", "--size", "big", "--model", "/nowhere"], "768x512"),
        (["serve", "openai"], "there is nothing to serve"),
        (["serve", "images", "--config", "nowhere.json"], "nowhere.json cannot be read"),
        (["models", "--vendor", "nobody"], "nobody"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_line_and_by_the_status(words, why):
    told = ayni_command(*words)
    assert told.returncode == (3 if words[0] == "serve" else 1) and why in told.stderr and "Traceback" not in told.stderr


def test_an_unknown_command_is_a_mistake_of_its_own():
    assert ayni_command("dance").returncode == 2


def test_the_doctor_tells_and_keeps_secrets():
    told = ayni_command("doctor", "--offline", env={"HF_API_TOKEN": "hf_canary", "CLIP_SERVICE_URL": "https://u:canary@clip.example/x", "EMBEDDING_MODEL": "m"})
    assert told.returncode == 0 and "canary" not in told.stdout
    lines = {line.strip()[:36].strip(): line.strip()[36:].strip() for line in told.stdout.splitlines()}
    assert lines["HF_API_TOKEN"] == "set" and lines["GROQ_API_KEY"] == "not set"
    assert lines["CLIP_SERVICE_URL"] == "clip.example" and lines["EMBEDDING_MODEL"] == "m"
    assert "processors" in lines["threads"] and lines["mock"] == "ready"
    machine = ayni.hardware()
    assert lines["kernels"] == f"{machine.instruction_set}, {machine.threads} threads"
    assert lines["precision auto"] == f"{machine.precision}: {machine.precision_reason}"


def test_models_of_the_cache_are_listed(tmp_path):
    blobs = tmp_path / "hub/models--org--name/blobs"
    blobs.mkdir(parents=True)
    (blobs / "abc").write_bytes(bytes(2_500_000))
    told = ayni_command("models", env={"HF_HOME": str(tmp_path)})
    lines = [line.split() for line in told.stdout.splitlines()]
    assert lines[-1] == ["org/name", "2.5", "MB"]
    assert [line[0] for line in lines[:-1]] == ["tiny:clip", "tiny:text", "tiny:chat"]
    assert lines[0][3:6] == ["in", "the", "package:"] and lines[2][1] == "fetched:"


def test_what_runs_here_is_listed():
    told = ayni_command("models", "--supported")
    assert told.returncode == 0, told.stderr
    [line] = [line for line in told.stdout.splitlines() if line.startswith("sentence-transformers/all-MiniLM-L6-v2 ")]
    assert line.split()[1:] == ["384", "256", "23", "M", "English", "Apache-2.0"]
    assert "bert" in told.stdout.splitlines()[0] and "siglip" in told.stdout.splitlines()[0]


def test_openai_is_served_from_a_file_and_its_models_are_listed(tmp_path):
    scripted = {"backend": "scripted", "model": "echo"}
    (tmp_path / "config.json").write_text(json.dumps({"chat": scripted, "embedder": scripted}))
    with serving("openai", "--config", str(tmp_path / "config.json")) as served:
        told = ayni_command("models", "--vendor", "custom", "--base-url", f"{served.url}/v1")
        assert (told.returncode, told.stdout) == (0, "echo\n"), told.stderr


def test_every_service_has_its_port_and_address():
    for name in SERVICES:
        given = parser().parse_args(["serve", name, "--host", "0.0.0.0", "--port", "1234"])
        assert (given.service, given.host, given.port) == (name, "0.0.0.0", 1234)


def test_an_image_is_drawn_and_changed_into_files(tiny_images, tmp_path):
    import PIL.Image

    model, out = ["--model", str(tiny_images / "sd"), "--device", "cpu", "--steps", "2", "--seed", "3"], tmp_path / "fox.png"
    told = ayni_command("image", "a fox", "-o", str(out), "--size", "64x48", *model)
    assert told.returncode == 0, told.stderr
    assert told.stdout.startswith(f"{out}: 64x48, seed 3, 2 steps, pndm, sd, ")
    with PIL.Image.open(out) as drawn:
        assert drawn.size == (64, 48) and drawn.text["parameters"].startswith("a fox\nSteps: 2, ")
    black = tmp_path / "black.png"
    told = ayni_command("image", "a fox", "-o", str(black), "--safety", "blank", *model)
    assert told.returncode == 0 and "blanked by the safety checker" in told.stdout, (told.stdout, told.stderr)
    with PIL.Image.open(black) as drawn:
        assert drawn.getextrema() == ((0, 0),) * 3 and json.loads(drawn.text["ayni"])["is_blanked"]
    night = tmp_path / "night.jpg"
    told = ayni_command("image", "at night", "--from", str(out), "--strength", "0.5", "-o", str(night), "--scheduler", "euler", *model)
    assert told.returncode == 0, told.stderr
    with PIL.Image.open(night) as changed:
        exif, kind = changed.getexif(), changed.format
        comment = exif.get_ifd(0x8769)[0x9286]
    assert kind == "JPEG" and comment[8:].decode("utf-16-be").startswith("at night\nSteps: 2, Sampler: Euler, ")
    assert json.loads(exif[0x010E])["operation"] == "refine"


def test_the_service_of_images_has_a_short_name():
    assert parser().parse_args(["serve", "image"]).service == "images"


def test_shells_complete_commands_services_and_options(tmp_path):
    script = tmp_path / "completion"
    script.write_text(ayni_command("completion", "bash").stdout)

    def completed(*words):
        code = f'source "{script}"; COMP_WORDS=({" ".join(words)}); COMP_CWORD={len(words) - 1}; _ayni; echo "${{COMPREPLY[@]}}"'
        return subprocess.run(["bash", "-c", code], capture_output=True, text=True, timeout=20).stdout.split()

    assert completed("ayni", "ser") == ["serve"]
    assert set(SERVICES) <= set(completed("ayni", "serve", "''"))
    assert completed("ayni", "serve", "openai", "--token") == ["--token-ids"]
    assert completed("ayni", "completion", "f") == ["fish"]
    assert "-a serve" in ayni_command("completion", "fish").stdout
    assert "bashcompinit" in ayni_command("completion", "zsh").stdout


def test_a_chat_model_is_shown_images(tmp_path):
    models = Path(__file__).parents[2] / "core/conformance/models"
    PIL = pytest.importorskip("PIL.Image")
    for name, colour in {"red": (220, 30, 30), "blue": (30, 50, 220)}.items():
        PIL.new("RGB", (9, 7), colour).save(tmp_path / f"{name}.png")
    asked = f"/image {tmp_path / 'red.png'}\nWhich colour?\n/new\n/image {tmp_path / 'blue.png'}\n/image {tmp_path / 'red.png'}\nWhich colour?\n"
    told = ayni_command("chat", str(models / "images"), "--temperature", "0", "--device", "cpu", given=asked)
    assert (told.returncode, told.stdout.split("\n")) == (0, ["red", "blue and red", ""]), told.stderr
    for model, line, why in [("images", "/image nowhere.png", "nowhere.png"), ("scripted", f"/image {tmp_path / 'red.png'}", "reads no images")]:
        told = ayni_command("chat", str(models / model), "--device", "cpu", given=f"{line}\nWhich colour?\n")
        assert told.returncode == 1 and why in told.stderr and not told.stdout, told.stderr
