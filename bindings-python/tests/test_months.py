"""Monthly files: fetched if they have changed, and written into the store."""

import asyncio
import contextlib
import io
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

import ayni

COLUMNS = (
    "CodigoCotizacion;NombreCotizacion;RUTUnidaddeCompra;FechaPublicacionParaCotizar;MontoTotalDisponible;CodigoProducto;"
    "CantidadSolicitada;Estado;RUTProveedor;ProveedorSeleccionado;moneda;MontoTotal"
)
LINE = "1057-{0}-COT26;Guantes;61.602.123-0;2026-06-01;100000;42132200;10;Publicada;76.123.456-0;no;CLP;9{0}000"


def month(lines, columns=COLUMNS):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("COT_2026-06.csv", "\r\n".join([columns, *(LINE.format(number) for number in range(lines))]) + "\r\n")
    return packed.getvalue()


@contextlib.contextmanager
def portal():
    """The portal: gives `served["file"]` at the address of one month, unless the caller has it."""
    served = {"file": month(5), "etag": '"1"', "asked": []}

    class Portal(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            served["asked"].append(self.path)
            is_here = self.path == "/trnspchc/COT_2026-06.zip"
            is_known = is_here and self.headers.get("If-None-Match") == served["etag"]
            body = served["file"] if is_here and not is_known else b""
            self.send_response(304 if is_known else 200 if is_here else 404)
            self.send_header("ETag", served["etag"])
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Portal) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        served["url"] = f"http://127.0.0.1:{server.server_port}"
        yield served
        server.shutdown()


@pytest.fixture
def client(tmp_path):
    with portal() as served:
        store = f"sqlite:{tmp_path}/records.db"
        config = {"backend": "mercado_publico", "ticket": "t", "store": store, "bulk_dir": str(tmp_path / "months")}
        yield ayni.Procurement(config, bulk_url=served["url"], policy={"retry": {"max_retries": 0}}), served


def test_a_month_is_imported_once_and_again_when_it_has_changed(client, tmp_path):
    procurement, served = client
    told = []
    first = asyncio.run(procurement.import_month("quotes", "2026-06", progress=told.append))
    assert (first.set, first.month, first.changed, first.lines, first.unread) == ("quotes", "2026-06", True, 5, 0)
    rows = [event for event in told if event.type == "reading"]
    assert rows[-1].rows == 5 and rows[-1].file == "COT_2026-06.csv" and rows[-1].done > 0
    again = procurement.import_month_sync("quotes", "2026-06")
    assert (again.changed, again.lines, again.as_of) == (False, 5, first.as_of)
    served.update(file=month(7), etag='"2"')
    assert procurement.import_month_sync("quotes", "2026-06").lines == 7
    assert [(month.month, month.lines) for month in procurement.months_sync("quick_purchase")] == [("2026-06", 7)]
    last = asyncio.run(procurement.lines("quick_purchase", after=("2026-06", 5), product="42132200"))
    assert [(found.month, found.line.position, str(found.line.total.amount)) for found in last] == [
        ("2026-06", 6, "95000"),
        ("2026-06", 7, "96000"),
    ]
    assert procurement.lines_sync("quick_purchase", code="1057-9-COT26") == ()
    assert procurement.import_month_sync("quotes", "2026-06", anew=True, keep_file=True).changed
    assert [path.suffix for path in (tmp_path / "months").iterdir()].count(".zip") == 1


def test_a_month_is_downloaded_and_left_as_it_is(client):
    procurement, served = client
    first = asyncio.run(procurement.download_month("quotes", "2026-06"))
    assert first.changed and first.path.read_bytes() == served["file"] and first.bytes == len(served["file"])
    assert zipfile.ZipFile(first.path).namelist() == ["COT_2026-06.csv"]
    again = procurement.download_month_sync("quotes", "2026-06")
    assert not again.changed and again.path == first.path and len(served["asked"]) == 2


def test_what_is_wrong_with_a_month_is_said(client):
    procurement, served = client
    with pytest.raises(ayni.InvalidRequest, match="order_lines"):
        procurement.import_month_sync("orders", "2026-06")
    with pytest.raises(ayni.InvalidRequest, match="month"):
        procurement.import_month_sync("quotes", "June")
    with pytest.raises(ayni.InvalidRequest, match="unknown field `anwe`"):
        procurement.import_month_sync("quotes", "2026-06", anwe=True)
    with pytest.raises(ayni.NotFound):
        procurement.import_month_sync("quotes", "2026-07")
    served["file"] = month(3, COLUMNS + ";ColumnaNueva")
    with pytest.raises(ayni.ResponseInvalid, match="ColumnaNueva"):
        procurement.import_month_sync("quotes", "2026-06")
    with pytest.raises(ayni.Unsupported, match="mercado_publico"):
        ayni.Procurement(backend="scripted").import_month_sync("quotes", "2026-06")
