"""Everything but arrays works where numpy is not installed."""

import base64
import json
import struct

import pytest
from serving import clip_folder, serving
from test_processes import run

import ayni

# What `import numpy` does where it is not installed, for this interpreter and whatever it imports.
BLOCKED = "import sys; sys.modules['numpy'] = None\n"


def output(code):
    program = run(BLOCKED + code)
    out, failures = program.communicate(timeout=60)
    assert (program.returncode, failures) == (0, "")
    return out


def test_vectors_come_as_lists_and_bytes():
    code = """
import json, pickle, ayni
response = ayni.Embedder(backend="scripted").embed_sync(["hola", "hello"])
again = pickle.loads(pickle.dumps(response))
print(json.dumps([len(response), response.tolist(), response.tobytes().hex(), again.tolist()]))
"""
    count, rows, raw, again = json.loads(output(code))
    expected = ayni.Embedder(backend="scripted").embed_sync(["hola", "hello"])
    assert count == 2 and rows == again == expected.vectors.tolist()
    assert bytes.fromhex(raw) == expected.vectors.astype("<f4").tobytes()


@pytest.mark.parametrize("code", ["response.vectors", "response.scales", "import ayni.batch"])
def test_what_needs_numpy_says_what_to_install(code):
    told = output(
        "import ayni\nresponse = ayni.Embedder(backend='scripted').embed_sync(['hola'], encoding='int8')\n"
        f"try:\n    {code}\nexcept ImportError as error:\n    print(error.name, error, repr(error.__cause__))\n"
    )
    assert told.startswith("numpy ") and "ayni[numpy]" in told and "ModuleNotFoundError" in told


def test_langchain_takes_an_embedder_without_numpy():
    code = """
import ayni
from ayni.langchain import AyniEmbeddings
embeddings = AyniEmbeddings(ayni.Embedder(backend="scripted"))
print([len(embeddings.embed_query("hola")), len(embeddings.embed_documents(["hola", "hello"])[1])])
"""
    assert output(code) == "[16, 16]\n"


def test_every_route_of_embeddings_serves_without_numpy(tmp_path):
    config = json.dumps({"embedder": {"backend": "scripted", "model": "m"}})
    (tmp_path / "served.json").write_text(config)
    start = "from ayni.cli import main; main({!r})"
    words = ["serve", "clip", "--model", str(clip_folder(tmp_path)), "--port", "0"]
    with serving(code=BLOCKED + start.format(words)) as served:
        answer = served.client.post("/embed/text", json={"text": "w5"}).json()
        assert len(answer["embedding"]) == answer["dimensions"]
    words = ["serve", "openai", "--config", str(tmp_path / "served.json"), "--port", "0"]
    with serving(code=BLOCKED + start.format(words)) as served:
        bodies = [{"model": "m", "input": ["hola", "hello"], "encoding_format": form} for form in ("float", "base64")]
        rows, coded = [[one["embedding"] for one in served.client.post("/v1/embeddings", json=body).json()["data"]] for body in bodies]
        # JSON has the fewest digits that name an f32: packed again, it is the same bits.
        assert [base64.b64decode(row) for row in coded] == [struct.pack(f"<{len(row)}f", *row) for row in rows]
