"""What callers of embedders hand over by mistake, and what is the same in every form."""

import asyncio
import io
import math
import pickle
import shutil
import time

import numpy as np
import PIL.Image
import pytest

import ayni
from ayni.batch import EmbedBatch, predict_function
from conftest import ROOT, TINY

IMAGES = ROOT / "core/tests/golden/images"
PICTURE = IMAGES / "chroma_420.jpg"
MODES = ("1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "HSV", "LAB", "I", "I;16", "I;16B", "F")


def picture(mode):
    """A picture in a mode of Pillow, over one that it converts from."""
    rgb = PIL.Image.open(PICTURE).convert("RGB").resize((40, 30))
    if mode == "LAB":
        from PIL import ImageCms

        profiles = (ImageCms.createProfile(name) for name in ("sRGB", "LAB"))
        return ImageCms.applyTransform(rgb, ImageCms.buildTransform(*profiles, "RGB", "LAB"))
    start = {"I;16": "I", "I;16B": "I", "RGBa": "RGBA", "La": "LA", "PA": "P"}.get(mode)
    return rgb.convert(mode) if start is None else rgb.convert("L" if start == "I" else start).convert(mode)


@pytest.mark.parametrize("mode", MODES)
def test_a_pillow_image_of_every_mode_is_an_image(clip, mode):
    embedder = ayni.Embedder(str(clip), precision="f32")
    given = picture(mode)
    assert given.mode == mode
    vector = embedder.embed_sync(given).vectors[0]
    assert np.isfinite(vector).all()
    if mode in ("CMYK", "YCbCr", "HSV", "LAB", "RGBX", "RGBA"):
        assert vector @ embedder.embed_sync(picture("RGB")).vectors[0] > 0.98, mode


def test_a_truncated_picture_is_an_invalid_request_in_every_form(clip, tmp_path):
    embedder = ayni.Embedder(str(clip))
    whole = PICTURE.read_bytes()
    (tmp_path / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    data = (tmp_path / "cut.jpg").read_bytes()
    forms = [PIL.Image.open(io.BytesIO(data)), tmp_path / "cut.jpg", data]
    for cut in forms:
        for call in (embedder.embed_sync, lambda inputs: asyncio.run(embedder.embed(inputs))):
            with pytest.raises(ayni.InvalidRequest):
                call(["w7", cut])
    with pytest.raises(ayni.InvalidRequest, match="input 1: a PIL image cannot be read") as raised:
        embedder.embed_sync(["w7", PIL.Image.open(io.BytesIO(data))])
    assert isinstance(raised.value.__cause__, OSError)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_is_upright_by_its_path_and_by_pillow(clip, tmp_path, orientation):
    embedder = ayni.Embedder(str(clip), precision="f32")
    image = PIL.Image.open(PICTURE).convert("RGB").resize((60, 40))
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "turned.png"
    image.save(path, exif=exif)
    by_path, by_pillow = embedder.embed_sync([path, PIL.Image.open(path)]).vectors
    assert (by_path == by_pillow).all()
    plain = tmp_path / "plain.png"
    image.save(plain)
    assert (embedder.embed_sync(plain).vectors[0] == by_path).all() == (orientation == 1)


def test_one_image_counts_as_a_list_of_one(clip, tmp_path):
    embedder = ayni.Embedder(str(clip))
    data = PICTURE.read_bytes()
    for alone in (PICTURE, data, bytearray(data), memoryview(data), PIL.Image.open(PICTURE)):
        assert len(embedder.embed_sync(alone)) == 1
        assert len(asyncio.run(embedder.embed(alone))) == 1
    assert [len(part) for part in embedder.embed_stream_sync(PICTURE)] == [1]


@pytest.mark.parametrize("missing", [None, math.nan, np.nan, np.float32("nan")])
def test_a_missing_text_in_a_column_names_its_row(missing):
    embed = EmbedBatch({"backend": "scripted"})
    with pytest.raises(ayni.InvalidRequest, match="row 1 of column 'text' is missing"):
        embed({"text": np.array(["hola", missing, "hello"], dtype=object)})
    with pytest.raises(ayni.InvalidRequest, match="row 2 is missing"):
        predict_function({"backend": "scripted"})(["a", "b", missing])
    with pytest.raises(TypeError, match="input 1: neither text nor an image"):
        ayni.Embedder(backend="scripted").embed_sync(["hola", missing])
    assert embed({"text": np.array(["hola", 5], dtype=object)})["embedding"].shape == (2, 16)
    with pytest.raises(ayni.InvalidRequest, match="row 0 of column 'text' is a list, not text"):
        embed({"text": [["hola"]]})


def test_lone_surrogates_are_typed_errors(scripted, tiny):
    for call in (scripted.embed_sync, lambda texts: asyncio.run(scripted.embed(texts))):
        with pytest.raises(ayni.InvalidRequest, match="input 1 holds a lone surrogate"):
            call(["hola", "\ud800"])
    tiny.ready_sync()
    with pytest.raises(ayni.InvalidRequest, match="lone surrogate"):
        tiny.count_tokens("\udfff")
    with pytest.raises(ayni.InvalidRequest, match="lone surrogate"):
        ayni.Chat(backend="scripted").chat_sync("\ud800")


@pytest.mark.parametrize("dimensions", [-1, 0, 10**6, 2**63, 2**64, 2**200, -(2**200)])
def test_impossible_dimensions_are_typed_errors(scripted, tiny, dimensions):
    for embedder in (scripted, tiny):
        with pytest.raises(ayni.InvalidRequest, match="dimension"):
            embedder.embed_sync(["hola"], dimensions=dimensions)


@pytest.mark.parametrize("vectors", [[[1.0, 0.0]], np.eye(2, dtype=np.float32)])
def test_a_negative_count_of_matches_is_a_typed_error(vectors):
    with pytest.raises(ayni.InvalidRequest, match="`k` is -1"):
        ayni.top_k(vectors, [1.0, 0.0], k=-1)
    assert ayni.top_k(vectors, [1.0, 0.0], k=0) == []
    assert len(ayni.top_k(vectors, [1.0, 0.0], k=2**70)) == len(vectors)


def test_arrays_are_searched_as_native_vectors_are():
    chance = np.random.default_rng(3)
    matrix = chance.normal(size=(500, 24)).astype(np.float32)
    matrix[7] = matrix[3]
    matrix[11] = 0
    matrix[13, 5] = np.nan
    matrix[17] = np.inf
    matrix[19] *= np.float32(1e25)
    matrix[23] *= np.float32(1e-25)
    query = chance.normal(size=24).astype(np.float32)
    for scale in (1.0, 1e25, 1e-25):
        for k in (0, 1, 10, 499, 1000):
            native = ayni.top_k(matrix.tolist(), (query * np.float32(scale)).tolist(), k=k)
            found = ayni.top_k(matrix, query * np.float32(scale), k=k)
            assert [match.index for match in found] == [match.index for match in native], (scale, k)
            assert np.allclose([match.score for match in found], [match.score for match in native], atol=1e-5)
    strided = np.asfortranarray(matrix.astype(np.float64))[::2]
    assert [match.index for match in ayni.top_k(strided, query, k=5)] == [
        match.index for match in ayni.top_k(matrix[::2].tolist(), query.tolist(), k=5)
    ]
    for wrong in (np.ones(24, np.float32), np.ones((3, 23), np.float32)):
        with pytest.raises(ayni.InvalidRequest, match="shape"):
            ayni.top_k(wrong, query)


def test_a_large_array_is_searched_where_it_is():
    """200,000 × 384 took 7.3 s through lists; numpy's own product takes 0.05 s."""
    matrix = np.random.default_rng(1).random((50_000, 384), dtype=np.float32)
    took = []
    for _ in range(3):
        start = time.perf_counter()
        found = ayni.top_k(matrix, matrix[42], k=10)
        took.append(time.perf_counter() - start)
    assert found[0].index == 42 and found[0].score == pytest.approx(1, abs=1e-5)
    assert min(took) < 0.5, took


def test_unpickling_takes_as_long_as_numpy_s():
    texts = [str(number) for number in range(20_000)]
    response = ayni.Embedder(backend="scripted", dimensions=256).embed_sync(texts)
    array = np.array(response.vectors)

    def seconds(work):
        def once():
            start = time.perf_counter()
            work()
            return time.perf_counter() - start

        return min(once() for _ in range(5))

    for write in (pickle.dumps, pickle.loads):
        ours, theirs = (pickle.dumps(one) for one in (response, array)) if write is pickle.loads else (response, array)
        assert seconds(lambda: write(ours)) < 3 * seconds(lambda: write(theirs)) + 0.01, write
    again = pickle.loads(pickle.dumps(response))
    assert seconds(lambda: ayni.top_k(again, array[3], k=5)) < 0.2
    assert ayni.top_k(again, array[3], k=1)[0].index == 3


def test_a_stream_on_the_calling_thread_is_the_awaited_one(scripted):
    texts = [f"text {number}" for number in range(700)]
    told = []
    parts = list(scripted.embed_stream_sync(iter(texts), progress=told.append, encoding="f16"))
    assert np.concatenate([part.vectors for part in parts]).tolist() == scripted.embed_sync(texts, encoding="f16").tolist()
    assert len(parts) > 1
    done = [event.done for event in told if event.type == "inputs"]
    assert done == sorted(done)


def test_what_the_inputs_raise_comes_after_the_vectors_of_those_before(scripted):
    def inputs():
        yield from ("a", "b", "c")
        raise LookupError("enough")

    stream = scripted.embed_stream_sync(inputs())
    assert len(next(stream)) == 3
    with pytest.raises(LookupError, match="enough"):
        next(stream)


def test_a_deadline_is_for_the_whole_synchronous_stream():
    slow = ayni.Embedder(backend="scripted", latency_seconds=0.2)
    with pytest.raises(ayni.Timeout):
        list(slow.embed_stream_sync((str(number) for number in range(2000)), deadline=0.5))


def test_shortened_vectors_are_of_another_space(tiny):
    whole, short = tiny.embed_sync(["the road"]), tiny.embed_sync(["the road"], dimensions=8)
    assert (whole.space.dimensions, short.space.dimensions) == (32, 8)
    assert whole.space != short.space and whole.space == tiny.space()
    assert short.space.fingerprint == whole.space.fingerprint


def test_vectors_of_different_spaces_are_not_compared(tiny, tmp_path):
    copied, changed = tmp_path / "a" / "model", tmp_path / "b" / "model"
    for folder in (copied, changed):
        shutil.copytree(TINY, folder)
    config = (changed / "config.json").read_text()
    (changed / "config.json").write_text(config.replace('"hidden_act": "gelu"', '"hidden_act": "relu"'))
    assert (changed / "config.json").read_text() != config
    same, other = ayni.Embedder(str(copied)), ayni.Embedder(str(changed))
    ours, query = tiny.embed_sync(["the road", "a house"]), "the road"
    assert ayni.top_k(ours, same.embed_sync(query), k=1)[0].index == 0
    assert ayni.similarity(tiny.embed_sync(query), same.embed_sync(query)) == pytest.approx(1)
    assert hash(tiny.space()) == hash(same.space()) and tiny.space() != other.space()
    for compare in (ayni.top_k, ayni.similarity):
        with pytest.raises(ayni.InvalidRequest, match="different spaces"):
            compare(tiny.embed_sync(query), other.embed_sync(query))
    travelled = pickle.loads(pickle.dumps(other.embed_sync(query)))
    with pytest.raises(ayni.InvalidRequest, match="different spaces"):
        ayni.top_k(ours, travelled)


def test_bits_are_searched_by_their_differences(tiny):
    texts = ["the road", "a house", "the road to a house", "north"]
    bits, query = tiny.embed_sync(texts, encoding="ubinary"), tiny.embed_sync("a house", encoding="ubinary")
    expected = np.unpackbits(bits.vectors ^ query.vectors, axis=1).sum(axis=1)
    order = sorted(range(4), key=lambda at: expected[at])
    for searched in (bits, bits.vectors, bits.tolist(), pickle.loads(pickle.dumps(bits))):
        for asked in (query, query.vectors[0], query.tolist()[0]):
            found = ayni.hamming_top_k(searched, asked, k=3)
            assert [match.index for match in found] == order[:3]
            assert [match.distance for match in found] == [expected[at] for at in order[:3]]
    with pytest.raises(ayni.Unsupported, match="ubinary"):
        ayni.hamming_top_k(tiny.embed_sync(texts), query)
    with pytest.raises(ayni.InvalidRequest, match="bytes"):
        ayni.hamming_top_k(bits, [0, 1])


def test_precision_and_its_reason_are_told_and_measured(tiny):
    coarse = ayni.Embedder(str(TINY), precision="int8")
    parity = coarse.verify_sync()
    assert parity.precision == coarse.info().precision == "int8"
    assert parity.probes and parity.lowest.cosine <= min(probe.cosine for probe in parity.probes)
    assert parity.holds is (parity.lowest.cosine >= parity.bar)
    assert asyncio.run(coarse.verify()).probes == parity.probes
    assert coarse.info().precision_reason == "the configuration says so"
    assert coarse.info().prompts == "none"
    tiny.ready_sync()
    machine = ayni.hardware()
    assert (tiny.info().precision, tiny.info().precision_reason) == (machine.precision, machine.precision_reason)
    assert machine.threads >= 1 and ayni.hardware({"AYNI_ISA": "portable"}).precision == "f32"
    with pytest.raises(ayni.Unsupported, match="only a model in this process"):
        ayni.Embedder(backend="scripted").verify_sync()


def test_what_is_supported_is_listed():
    assert "bert" in ayni.embedding_architectures()
    [minilm] = [model for model in ayni.known_models() if model.id == "sentence-transformers/all-MiniLM-L6-v2"]
    assert (minilm.dimensions, minilm.window, minilm.architecture, minilm.licence) == (384, 256, "bert", "Apache-2.0")


def test_encoded_pictures_hold_the_pixels():
    image = PIL.Image.open(PICTURE).convert("RGB").resize((20, 10))
    from ayni._images import as_bytes

    assert np.array_equal(np.array(PIL.Image.open(io.BytesIO(as_bytes(image)))), np.array(image))
