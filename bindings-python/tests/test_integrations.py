"""LangChain, LlamaIndex and bulk embedding with the real packages, over our own handles."""

import asyncio
import concurrent.futures
import doctest
import importlib
import multiprocessing
import os
import pickle

import numpy as np
import pytest

import ayni
from ayni.batch import EmbedBatch, predict_function

SCRIPTED = {"backend": "scripted"}


@pytest.mark.parametrize("module", ["langchain", "llama_index", "batch", "documents", "fastapi"])
def test_the_examples_in_the_documentation_run(module):
    told = doctest.testmod(importlib.import_module(f"ayni.{module}"))
    assert told.attempted > 1 and told.failed == 0


def test_langchain_embeddings_search_a_vector_store():
    from langchain_core.vectorstores import InMemoryVectorStore

    from ayni.langchain import AyniEmbeddings

    embeddings = AyniEmbeddings(ayni.Embedder(SCRIPTED))
    store = InMemoryVectorStore.from_texts(["ambulancias", "papel", "aseo"], embeddings)
    assert store.similarity_search("papel", k=1)[0].page_content == "papel"
    assert asyncio.run(embeddings.aembed_documents(["a"])) == embeddings.embed_documents(["a"])
    assert asyncio.run(embeddings.aembed_query("a")) == embeddings.embed_query("a")
    assert embeddings.embed_documents([]) == []


def test_langchain_chat_answers_in_a_chain_whole_and_streamed():
    from langchain_core.output_parsers import StrOutputParser
    from langchain_core.prompts import ChatPromptTemplate

    from ayni.langchain import AyniChatModel

    chat = AyniChatModel(chat=ayni.Chat(SCRIPTED), options={"max_tokens": 50})
    chain = ChatPromptTemplate.from_messages([("system", "Be brief."), ("human", "{question}")]) | chat | StrOutputParser()
    whole = chain.invoke({"question": "hola"})
    assert whole == "You asked: hola\nI was told: Be brief."
    assert "".join(chain.stream({"question": "hola"})) == whole

    async def streamed():
        return "".join([piece async for piece in chain.astream({"question": "hola"})])

    assert asyncio.run(streamed()) == whole and asyncio.run(chain.ainvoke({"question": "hola"})) == whole
    message = chat.invoke("hola", stop=["hola"])
    assert message.content == "You asked: " and message.usage_metadata["total_tokens"] > 0


def test_langchain_tools_and_structured_output():
    import pydantic
    from langchain_core.messages import HumanMessage, ToolMessage
    from langchain_core.tools import tool

    from ayni.langchain import AyniChatModel

    @tool
    def weather(city: str) -> str:
        """The weather in a city."""
        return f"fog in {city}"

    chat = AyniChatModel(chat=ayni.Chat(SCRIPTED))
    asked = [HumanMessage("How is it?")]
    answer = chat.bind_tools([weather], tool_choice="any").invoke(asked)
    [call] = answer.tool_calls
    assert call["name"] == "weather"
    final = chat.invoke([*asked, answer, ToolMessage(weather.invoke(call["args"]), tool_call_id=call["id"])])
    assert "fog in" in final.content
    merged = None
    for chunk in chat.bind_tools([weather], tool_choice="weather").stream(asked):
        merged = chunk if merged is None else merged + chunk
    assert merged.tool_calls[0]["args"] == call["args"]

    class Advice(pydantic.BaseModel):
        """Advice."""

        words: str

    assert isinstance(chat.with_structured_output(Advice).invoke("?"), Advice)


def test_langchain_errors_are_ours():
    from ayni.langchain import AyniChatModel

    with pytest.raises(ayni.RateLimited):
        AyniChatModel(chat=ayni.Chat(SCRIPTED, failures=["rate_limited"] * 9, policy={"retry": {"max_retries": 0}})).invoke("x")


def test_llama_index_embeds_and_searches():
    from llama_index.core import Document, VectorStoreIndex

    from ayni.llama_index import AyniEmbedding

    embedding = AyniEmbedding(ayni.Embedder(SCRIPTED))
    index = VectorStoreIndex.from_documents([Document(text=text) for text in ("ambulancias", "papel")], embed_model=embedding)
    assert index.as_retriever(similarity_top_k=1).retrieve("papel")[0].text == "papel"
    assert asyncio.run(embedding.aget_query_embedding("a")) == embedding.get_query_embedding("a")
    assert asyncio.run(embedding.aget_text_embedding_batch(["a", "b"])) == embedding.get_text_embedding_batch(["a", "b"])


def test_llama_index_chats_whole_and_streamed():
    from llama_index.core.llms import ChatMessage

    from ayni.llama_index import AyniLLM

    llm = AyniLLM(ayni.Chat(SCRIPTED), options={"max_tokens": 50})
    messages = [ChatMessage(role="system", content="Be brief."), ChatMessage(role="user", content="hola")]
    whole = "You asked: hola\nI was told: Be brief."
    assert llm.chat(messages).message.content == whole and llm.complete("hola").text == "You asked: hola"
    assert "".join(one.delta for one in llm.stream_chat(messages)) == whole
    assert list(llm.stream_complete("hola"))[-1].text == "You asked: hola"

    async def awaited():
        assert (await llm.achat(messages)).message.content == whole
        assert (await llm.acomplete("hola")).text == "You asked: hola"
        assert [one.delta async for one in await llm.astream_chat(messages)]
        return [one.text async for one in await llm.astream_complete("hola")][-1]

    assert asyncio.run(awaited()) == "You asked: hola"


def test_a_batch_keeps_its_columns_and_gets_vectors():
    embed = pickle.loads(pickle.dumps(EmbedBatch(SCRIPTED, column="words", output="vectors", role="document")))
    batch = embed({"words": np.array(["hola", "hello"], dtype=object), "id": np.array([1, 2])})
    expected = ayni.Embedder(SCRIPTED).embed_sync(["hola", "hello"]).vectors
    assert batch["id"].tolist() == [1, 2] and np.array_equal(batch["vectors"], expected) and batch["vectors"].flags.writeable
    assert np.array_equal(predict_function(SCRIPTED)(["hola", "hello"]), expected)
    assert embed({"words": np.array([])})["vectors"].shape[0] == 0


def loads_in_worker(embed, texts):
    from ayni import batch

    first, second = embed({"text": texts}), embed({"text": texts})
    assert np.array_equal(first["embedding"], second["embedding"])
    return os.getpid(), len(batch._LOADED), first["embedding"].shape


def test_every_worker_loads_the_model_once():
    spawn = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(2, mp_context=spawn) as pool:
        told = list(pool.map(loads_in_worker, [EmbedBatch(SCRIPTED)] * 6, [["a", "b"]] * 6))
    assert {(count, shape) for _, count, shape in told} == {(1, (2, 16))}
    assert os.getpid() not in {process for process, _, _ in told}
