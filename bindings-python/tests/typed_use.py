"""How the package is used, for a type checker: everything here is right, except where a comment says what is wrong."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pydantic
from typing_extensions import assert_type

import ayni

if TYPE_CHECKING:
    import PIL.Image


class Triage(pydantic.BaseModel):
    priority: int


async def embed(picture: PIL.Image.Image) -> None:
    async with ayni.Embedder("sentence-transformers/all-MiniLM-L6-v2", precision="f32") as embedder:
        response = await embedder.embed(["text", b"\x89PNG", Path("a.png"), picture], role="query", deadline=3.0)
        assert_type(response, ayni.EmbedResponse)
        assert_type(response.route.failed, "tuple[ayni.RouteFailure, ...]")
        assert_type(embedder.space().dimensions, "int | None")
        async for part in embedder.embed_stream(["text", Path("a.png")], role="document"):
            assert_type(part.tolist(), "list[list[Any]]")
        assert_type(ayni.top_k(response, [0.1, 0.2], k=3), "list[ayni.Match]")
        assert_type(ayni.similarity(response, response), float)
        await embedder.ready(deadline=30)
        assert_type(embedder.count_tokens("text", role="query"), int)
        embedder.embed_sync(["text"], role="qeury")  # wrong: arg-type
        embedder.embed_sync(["text"], rolle="query")  # wrong: call-arg
        embedder.embed_sync([5])  # wrong: list-item


async def chat() -> None:
    ayni.Embedder(backend="scripted", fallback=[{"backend": "openai", "vendor": "groq"}])
    ayni.Chat({"backend": "openai", "vendor": "groq", "policy": {"retry": {"max_retries": 1}}})
    ayni.Chat(backend="opnai")  # wrong: arg-type
    ayni.Chat(backend="openai", modle="m")  # wrong: call-arg
    chat = ayni.Chat.from_env({"GROQ_API_KEY": "k"})
    response = await chat.chat([{"role": "user", "content": "hola"}], temperature=0.2, progress=print)
    assert_type(response.usage.input_tokens, "int | None")
    assert_type(await chat.parse(Triage, "my head"), Triage)
    async for event in chat.stream("hola"):
        if isinstance(event, ayni.Text):
            assert_type(event.text, str)
        elif isinstance(event, ayni.Finish):
            assert_type(event.usage, ayni.Usage)
    for one in chat.stream_sync("hola", cancellation=ayni.Cancellation(), timeouts={"idle": 3.0}):
        assert_type(one, ayni.ChatEvent)


async def images(generator: ayni.ImageGenerator) -> None:
    response = await generator.generate("a lighthouse", size=(64, 48), steps=4)
    assert_type(response.image.to_pil().size, "tuple[int, int]")
    await generator.refine("at night", [response.image.data, Path("a.png")], strength=0.5)
    async for event in generator.generate_events("a lighthouse"):
        assert_type(event, "ayni.Progress | ayni.ImageResponse")
    generator.generate_sync("a lighthouse", size=64)  # wrong: arg-type


async def procurement() -> None:
    client = ayni.Procurement(backend="mercado_publico", ticket="t", store="sqlite:records.db")
    listing = await client.tenders(from_=date(2026, 11, 1), to="2026-11-20", kinds=["LE"], limit=10)
    assert_type(listing.rows, "tuple[ayni.TenderRow, ...]")
    answer = await client.tender(listing.rows[0].code)
    if answer.record.estimated_amount is not None:
        assert_type(answer.record.estimated_amount.amount, Decimal)
    assert_type(answer.as_of, datetime)
    async for order in client.each_purchase_order(on=date(2026, 11, 20)):
        assert_type(order, ayni.PurchaseOrderRow)
    client.plan_sync("tenders")  # wrong: arg-type
    try:
        report = await client.import_month("order_lines", "2026-06", progress=print, keep_file=True)
        assert_type(report.lines, int)
        client.download_month_sync("orders", "2026-06")  # wrong: arg-type
        await client.sync("tender", since=date(2026, 1, 1), max_details=5)
    except ayni.QuotaExceeded as error:
        assert_type(error.retry_after, "float | None")
