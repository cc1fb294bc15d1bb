"""Embedders from Python."""

import asyncio
import copy
import gc
import io
import json
import pickle

import numpy as np
import PIL.Image
import pytest

import ayni
from conftest import CLIP_WEIGHTS, ROOT, TINY

PICTURE = ROOT / "core/tests/golden/images/chroma_420.jpg"


def test_a_string_is_the_reference_of_a_local_model():
    with ayni.Embedder(str(TINY)) as embedder:
        response = embedder.embed_sync(["the road", "a house"])
        assert embedder.info().backend == response.route.backend == "local"
        assert response.vectors.shape == (2, embedder.space().dimensions)
        assert response.space == embedder.space()
        lengths = np.linalg.norm(response.vectors, axis=1)
        assert response.space.normalised is bool(np.allclose(lengths, 1, atol=1e-5))


def test_awaited_and_synchronous_calls_give_the_same_bits(tiny):
    texts = [f"text {number}" for number in range(40)]
    awaited = asyncio.run(tiny.embed(texts, role="query"))
    assert (awaited.vectors == tiny.embed_sync(texts, role="query").vectors).all()


def test_vectors_are_the_memory_that_native_code_wrote(tiny):
    vectors = tiny.embed_sync(["the road"]).vectors
    assert vectors.dtype == np.float32
    assert not vectors.flags.owndata
    assert not vectors.flags.writeable
    address, is_read_only = vectors.base.__array_interface__["data"]
    assert address == vectors.ctypes.data
    assert is_read_only
    row = vectors[0]
    expected = row.copy()
    del vectors
    gc.collect()
    assert (row == expected).all()


@pytest.mark.parametrize(("encoding", "kind"), [("f16", np.float16), ("int8", np.int8), ("ubinary", np.uint8)])
def test_encodings_come_as_numpy_has_them(tiny, encoding, kind):
    exact = tiny.embed_sync(["the road", "a house"]).vectors
    coded = tiny.embed_sync(["the road", "a house"], encoding=encoding)
    assert coded.vectors.dtype == kind
    if encoding == "f16":
        assert np.allclose(coded.vectors, exact, atol=1e-3)
        assert (coded.vectors == exact.astype(np.float16)).all()
    elif encoding == "int8":
        assert np.allclose(coded.vectors * coded.scales[:, None], exact, atol=coded.scales.max())
    else:
        assert (coded.vectors == np.packbits(exact > 0, axis=1)).all()


@pytest.mark.parametrize("encoding", ["f32", "f16", "int8", "ubinary"])
def test_lists_and_bytes_hold_what_the_arrays_do_on_either_side_of_a_pickle(tiny, encoding):
    response = tiny.embed_sync(["the road", "a house", "w"], encoding=encoding)
    travelled = pickle.loads(pickle.dumps(response))
    assert travelled.route == response.route and travelled.space == response.space
    for one in (response, travelled, copy.deepcopy(travelled)):
        assert one.vectors is one.vectors and len(one) == 3
        assert one.vectors.dtype == response.vectors.dtype and (one.vectors == response.vectors).all()
        assert not one.vectors.flags.writeable
        assert one.tolist() == response.vectors.tolist()
        assert one.tobytes() == response.vectors.astype(response.vectors.dtype.newbyteorder("<")).tobytes()
        assert (one.scales is None) is (encoding != "int8")
        assert encoding != "int8" or (one.scales == response.scales).all()


def test_a_local_model_gives_the_vectors_of_transformers(clip):
    first = json.loads((CLIP_WEIGHTS / "cases.json").read_text())["texts"][0]
    texts = [" ".join(f"w{token}" for token in tokens).removesuffix(" w1" * tokens.count(1)) for tokens in first["ids"]]
    expected = np.array(first["features"])
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    vectors = ayni.Embedder(str(clip), precision="f32").embed_sync(texts).vectors
    assert ((vectors * expected).sum(axis=1) > 0.99999).all()


def test_images_come_as_bytes_paths_and_pictures_beside_texts(clip):
    embedder = ayni.Embedder(str(clip))
    picture = PIL.Image.open(PICTURE)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    inputs = ["w7 w9", PICTURE, PICTURE.read_bytes(), memoryview(PICTURE.read_bytes()), picture, buffer.getvalue()]
    vectors = asyncio.run(embedder.embed(inputs)).vectors
    assert (vectors == embedder.embed_sync(inputs).vectors).all()
    assert (vectors[1] == vectors[2]).all() and (vectors[1] == vectors[3]).all()
    assert (vectors[4] == vectors[5]).all()
    # Two decoders of JPEG differ by a bit of a pixel.
    assert vectors[1] @ vectors[4] > 0.99 > vectors[0] @ vectors[1]


def test_a_file_that_cannot_be_read_is_named_with_its_cause(tiny):
    for failure in (lambda path: tiny.embed_sync([path]), lambda path: asyncio.run(tiny.embed([path]))):
        with pytest.raises(ayni.InvalidRequest, match="nowhere.png cannot be read") as raised:
            failure(ROOT / "nowhere.png")
        assert isinstance(raised.value.__cause__, FileNotFoundError)


def test_one_text_counts_as_a_list_of_one(scripted):
    assert len(scripted.embed_sync("text")) == 1
    assert len(asyncio.run(scripted.embed("text"))) == 1


@pytest.mark.parametrize("wrong", [[1], [None], [["text"]], 5])
def test_what_is_neither_text_nor_image_is_a_type_error(scripted, wrong):
    with pytest.raises(TypeError):
        scripted.embed_sync(wrong)


def test_truncated_inputs_are_named(tiny):
    long = "the road " * 5000
    assert tiny.embed_sync(["short", long]).truncated == (1,)
    with pytest.raises(ayni.ContextTooLong):
        tiny.embed_sync([long], truncation="refuse")


def test_progress_reaches_a_synchronous_caller_on_its_own_thread(tiny):
    import threading

    told = []
    tiny.embed_sync(["text"] * 600, progress=lambda event: told.append((threading.get_ident(), event)))
    inputs = [event for _, event in told if event.type == "inputs"]
    assert {thread for thread, _ in told} == {threading.get_ident()}
    assert inputs[-1].done == inputs[-1].of == 600
    assert [event.done for event in inputs] == sorted(event.done for event in inputs)


def test_what_a_progress_sink_raises_ends_a_synchronous_call(tiny):
    def sink(event):
        raise LookupError("enough")

    with pytest.raises(LookupError, match="enough"):
        tiny.embed_sync(["text"] * 600, progress=sink)
    assert len(tiny.embed_sync(["text"])) == 1


def test_progress_comes_before_the_answer_on_the_event_loop(tiny):
    async def main():
        told = []
        response = await tiny.embed(["text"] * 600, progress=told.append)
        assert [event.done for event in told if event.type == "inputs"][-1] == len(response) == 600

    asyncio.run(main())


def test_a_closed_handle_says_so_and_lets_calls_end():
    async def main():
        async with ayni.Embedder(backend="scripted", latency_seconds=0.1) as embedder:
            call = asyncio.ensure_future(embedder.embed(["text"]))
            await asyncio.sleep(0.02)
        with pytest.raises(ayni.InvalidRequest, match="this Embedder is closed"):
            await embedder.embed(["text"])
        assert repr(embedder) == "<ayni.Embedder (closed)>"
        assert len(await call) == 1

    asyncio.run(main())


def test_the_environment_is_the_process_s_or_the_one_that_is_given(monkeypatch):
    monkeypatch.setenv("EMBEDDING_PROVIDER", "scripted")
    assert ayni.Embedder.from_env().info().backend == "scripted"
    with pytest.raises(ayni.ConfigInvalid, match="EMBEDDING_PROVIDER is not set"):
        ayni.Embedder.from_env({})


def test_spaces_of_equal_vectors_are_equal(tiny):
    again = ayni.Embedder(str(TINY))
    again.embed_sync(["text"])
    tiny.embed_sync(["text"])
    assert tiny.space() == again.space() != ayni.Embedder(backend="scripted").space()


def test_a_local_model_gets_ready_and_counts_tokens(tiny):
    fresh = ayni.Embedder(str(TINY))
    fresh.ready_sync()
    asyncio.run(fresh.ready())
    assert fresh.info().device == "cpu"
    short, longer = fresh.count_tokens("the road"), fresh.count_tokens("the road the road", role="query")
    assert 2 <= short < longer < fresh.window()
    long = "the road " * fresh.window()
    assert fresh.count_tokens(long) > fresh.window() and fresh.embed_sync([long]).truncated == (0,)


def test_what_runs_elsewhere_is_ready_and_counts_nothing(scripted):
    scripted.ready_sync()
    assert scripted.info().device is None
    with pytest.raises(ayni.Unsupported, match="counts tokens"):
        scripted.count_tokens("hola")
    with pytest.raises(ayni.InvalidRequest, match="role|document"):
        scripted.count_tokens("hola", role="sideways")


def test_the_nearest_are_found_among_responses_lists_and_arrays(tiny):
    documents = tiny.embed_sync(["the road", "a house", "the road to a house"])
    query = tiny.embed_sync("the road")
    lengths = np.linalg.norm(documents.vectors, axis=1) * np.linalg.norm(query.vectors[0])
    expected = documents.vectors @ query.vectors[0] / lengths
    order = sorted(range(3), key=lambda at: -expected[at])
    travelled = pickle.loads(pickle.dumps(documents))
    for searched in (documents, travelled, documents.tolist(), documents.vectors):
        for asked in (query, query.vectors[0], query.tolist()[0]):
            found = ayni.top_k(searched, asked, k=2)
            assert [match.index for match in found] == order[:2] and found[0].index == 0
            assert np.allclose([match.score for match in found], expected[order[:2]], atol=1e-5)
    assert ayni.similarity(query, documents.tolist()[1]) == pytest.approx(float(expected[1]), abs=1e-5)
    assert ayni.top_k(tiny.embed_sync(["the road", "a house"], encoding="int8"), query, k=1)[0].index == 0
    for wrong in (lambda: ayni.top_k([[1.0], [1.0, 2.0]], [1.0]), lambda: ayni.similarity(documents, query)):
        with pytest.raises(ayni.InvalidRequest):
            wrong()
    with pytest.raises(ayni.Unsupported, match="bits"):
        ayni.top_k(tiny.embed_sync(["a"], encoding="ubinary"), query)
