"""Images from Python."""

import asyncio
import io

import PIL.Image
import pytest

import ayni


@pytest.fixture
def images():
    return ayni.ImageGenerator(backend="scripted")


def test_an_image_comes_as_bytes_and_as_pillow_has_it(images, tmp_path):
    response = images.generate_sync("a lighthouse", size=(64, 48), seed=7, steps=4)
    assert (response.size, response.seed, response.steps) == ((64, 48), 7, 4)
    assert response.image.media_type == "image/png"
    assert response.image.to_pil().size == (64, 48)
    response.image.save(tmp_path / "lighthouse.png")
    assert (tmp_path / "lighthouse.png").read_bytes() == response.image.data
    assert repr(response.image) == f"Image(image/png, {len(response.image.data)} bytes)"
    assert asyncio.run(images.generate("a lighthouse", size=(64, 48), seed=7, steps=4)).images == response.images


def test_every_form_of_image_can_be_refined(images, tmp_path):
    data = images.generate_sync("a lighthouse", size=(32, 32)).image.data
    path = tmp_path / "lighthouse.png"
    path.write_bytes(data)
    picture = PIL.Image.open(io.BytesIO(data))
    given = [data, bytearray(data), memoryview(data), path, picture]
    for image in given:
        assert len(images.refine_sync("at night", image, seed=1).images) == 1
    assert len(asyncio.run(images.refine("at night", given, seed=1)).images) == len(given)
    with pytest.raises(TypeError, match=r"use pathlib.Path"):
        images.refine_sync("at night", str(path))
    with pytest.raises(ayni.InvalidRequest, match="gone.png cannot be read"):
        images.refine_sync("at night", tmp_path / "gone.png")


def test_progress_is_told_step_by_step(images):
    steps = []
    images.generate_sync("a lighthouse", steps=5, progress=steps.append)
    assert [(event.type, event.done, event.of) for event in steps] == [("image_step", n, 5) for n in range(1, 6)]


def test_events_are_the_progress_and_then_the_answer(images):
    async def main():
        data = images.generate_sync("a lighthouse").image.data
        return (
            [event async for event in images.generate_events("a lighthouse", steps=3, seed=1)],
            [event async for event in images.refine_events("at night", data, steps=2, seed=1)],
        )

    for events in asyncio.run(main()):
        *steps, response = events
        assert [step.done for step in steps] == list(range(1, len(steps) + 1)) and steps
        assert isinstance(response, ayni.ImageResponse)


def test_events_end_with_the_error_of_the_call():
    broken = ayni.ImageGenerator(backend="scripted", failures=["content_rejected"])

    async def main():
        return [event async for event in broken.generate_events("a lighthouse")]

    with pytest.raises(ayni.ContentRejected):
        asyncio.run(main())


def test_leaving_the_events_stops_the_work():
    slow = ayni.ImageGenerator(backend="scripted", latency_seconds=60)

    async def main():
        events = slow.generate_events("a lighthouse")
        waiting = asyncio.ensure_future(anext(events))
        await asyncio.sleep(0.05)
        assert len(asyncio.all_tasks()) == 3
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await asyncio.sleep(0.05)
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(main())


def test_events_take_no_second_sink(images):
    async def main():
        return [event async for event in images.generate_events("a lighthouse", progress=print)]

    with pytest.raises(TypeError, match="no `progress` beside them"):
        asyncio.run(main())


def test_a_local_image_is_drawn_again_by_its_receipt(tiny_images, images):
    local = ayni.ImageGenerator(str(tiny_images / "sd"), device="cpu")
    first = local.generate_sync("un faro", steps=3, seed=5).image
    again = local.replay_sync(first.data)
    assert (again.max_difference, again.image, again.receipt["seed"]) == (0, first, 5)
    refined = asyncio.run(local.refine("at night", first.data, steps=4, seed=9)).image
    again = asyncio.run(local.replay(refined.data, first.data))
    assert (again.max_difference, again.receipt["operation"]) == (0, "refine")
    with pytest.raises(ayni.InvalidRequest, match="give the image that it was made from"):
        local.replay_sync(refined.data)
    with pytest.raises(ayni.InvalidRequest, match="no receipt"):
        local.replay_sync(images.generate_sync("a lighthouse", size=(32, 32)).image.data)


def test_a_safety_checker_says_what_it_found_and_what_was_done(tiny_images):
    marking = ayni.ImageGenerator(str(tiny_images / "sd"), device="cpu", safety="mark")
    answer = marking.generate_sync("un faro", steps=1, count=2)
    assert [(said.flagged, said.blanked, said.concepts[0].concept) for said in answer.safety] == [(True, False, 1)] * 2
    assert answer.safety[0].concepts[0].score > 0.5
    model = marking.info().image_model
    assert (model.safety, model.has_safety_checker) == ("mark", True)
    plain = ayni.ImageGenerator(str(tiny_images / "sd"), device="cpu")
    assert plain.generate_sync("un faro", steps=1).safety == ()
    assert (plain.info().image_model.safety, plain.info().image_model.has_safety_checker) == ("off", True)
    refusing = ayni.ImageGenerator(str(tiny_images / "sd"), device="cpu", safety="refuse")
    with pytest.raises(ayni.ContentRejected, match="safety checker"):
        refusing.generate_sync("un faro", steps=1)
