//! Rows of the three sets, in every spelling of their headers.

use std::io::Cursor;

use super::*;
use crate::error::{Error, ErrorKind};
use crate::procure::{
    Currency, Money, OrderPayment, OrderState, OrderType, PaymentTerm, QuickPurchaseState, Reading,
    TenderState, TimeUnit,
};
use ayni_testkit::bulk::{self as monthly, zip};

fn decimal(text: &str) -> crate::procure::Decimal {
    text.parse().expect("a number")
}

fn read<T: BulkRow>(bytes: impl Into<Vec<u8>>, options: ReadOptions) -> Result<Vec<T>, Error> {
    Rows::csv("2026-6.csv", Cursor::new(bytes.into()), options)?.collect()
}

/// A file of one row: the fields given, and nothing in all others that are needed.
fn file(needed: &str, fields: &[(&str, &str)]) -> Vec<u8> {
    let others = needed.split(' ').filter(|name| fields.iter().all(|(given, _)| given != name));
    let names = fields.iter().map(|(name, _)| *name).chain(others);
    let header: Vec<String> = names.map(|name| format!("\"{name}\"")).collect();
    let mut row: Vec<String> =
        fields.iter().map(|(_, field)| format!("\"{}\"", field.replace('"', "\"\""))).collect();
    row.resize(header.len(), "\"NA\"".to_owned());
    let text = format!("{}\r\n{}\r\n", header.join(";"), row.join(";"));
    text.chars().map(|letter| text::encoded(letter).expect("in Windows-1252")).collect()
}

const ORDER: &str = "Codigo Nombre codigoEstado FechaCreacion MontoTotalOC TipoMonedaOC CodigoOrganismoPublico RutUnidadCompra CodigoProveedor RutSucursal IDItem codigoProductoONU cantidad monedaItem precioNeto totalLineaNeto Estado";

fn order(fields: &[(&str, &str)]) -> Vec<u8> {
    file(ORDER, fields)
}

fn line(file: impl Into<Vec<u8>>) -> OrderLine {
    read(file, ReadOptions::default()).expect("read").remove(0)
}

#[test]
fn a_line_of_an_order_is_read_whole() {
    let bytes = order(&[
        ("Codigo", "5858-14-SE22"),
        ("Nombre", "Adquisición de \"insumos\";\r\nurgente"),
        ("Descripcion/Obervaciones", "Según bases – “art. 5”"),
        ("CodigoAbreviadoTipoOC", "AG"),
        ("codigoEstado", "12"),
        ("EsTratoDirecto", "Si"),
        ("EsCompraAgil", "No"),
        ("FechaCreacion", "2026-06-30"),
        ("FechaEnvio", "1900-01-01"),
        ("FechaCancelacion", "NA"),
        ("MontoTotalOC", "19977,72"),
        ("TipoMonedaOC", "CLF"),
        ("MontoTotalOC_PesosChilenos", "3,3e+08"),
        ("Descuentos", "-"),
        ("FormaPago", "46"),
        ("Forma de Pago", "50 días"),
        ("CodigoProveedor", "-1"),
        ("RutSucursal", "78.167.575-K"),
        ("RegionUnidadCompra", "Región de Tarapacá  "),
        ("IDItem", "122139702"),
        ("NombreroductoGenerico", "Guantes"),
        ("cantidad", "1,5"),
        ("monedaItem", "CLF"),
        ("precioNeto", "279,8"),
        ("Codigo_ConvenioMarco", " "),
    ]);
    let line = line(bytes);
    let row = &line.order.row;
    assert_eq!((row.code.as_str(), &row.state), ("5858-14-SE22", &OrderState::Received));
    assert_eq!(row.name, "Adquisición de \"insumos\";\r\nurgente");
    assert_eq!(line.order.description, "Según bases – “art. 5”");
    assert_eq!(line.order.total, Some(Money::new(decimal("19977.72"), Currency::Clf)));
    assert_eq!(line.total_in_pesos, Some(Money::new(decimal("330000000"), Currency::Clp)));
    assert_eq!((line.direct_award, line.quick_purchase), (Some(true), Some(false)));
    assert_eq!((line.order.kind, line.order.payment), (Some(OrderType::Ag), Some(OrderPayment::Days50)));
    let created = line.order.created.expect("a day");
    assert_eq!(
        (created.to_string().as_str(), created.reading()),
        ("2026-06-30T00:00:00-04:00", Reading::Once)
    );
    assert_eq!((line.order.sent, line.order.cancelled, line.order.discounts), (None, None, None));
    let supplier = line.order.supplier.expect("a supplier");
    assert_eq!((supplier.code.as_str(), supplier.tax_number.as_deref()), ("", Some("78.167.575-K")));
    assert_eq!(line.order.buyer.expect("a buyer").region.as_deref(), Some("Región de Tarapacá"));
    assert_eq!((line.line_id, line.item.quantity), (Some(122_139_702), Some(decimal("1.5"))));
    assert_eq!(line.item.unit_price, Some(Money::new(decimal("279.8"), Currency::Clf)));
    assert_eq!((line.agreement_code, line.unread.len()), (None, 0));
}

#[test]
fn raw_is_the_row_field_for_field() {
    let bytes = order(&[
        ("Codigo", "1-1-SE26"),
        ("Nombre", "a\"b\\c\r\n\u{81}"),
        ("precioNeto", "3,9333333333333331"),
    ]);
    let line = line(bytes);
    let raw = line.order.row.origin.raw.to_json();
    assert_eq!(raw["Codigo"], "1-1-SE26");
    assert_eq!(raw["Nombre"], "a\"b\\c\r\n\u{81}");
    assert_eq!(raw["precioNeto"], "3,9333333333333331");
    assert_eq!(raw["cantidad"], "NA");
    assert_eq!(raw.as_object().expect("an object").len(), 17);
    let bare = read::<OrderLine>(order(&[]), ReadOptions::default().with_raw(false)).expect("read").remove(0);
    assert!(bare.order.row.origin.raw.is_empty());
}

#[test]
fn what_cannot_be_read_is_named_and_not_guessed() {
    let bytes = order(&[
        ("MontoTotalOC", "12 mil"),
        ("TipoMonedaOC", "CLP"),
        ("FechaCreacion", "ayer"),
        ("IDItem", "1,5"),
    ]);
    let line = line(bytes);
    assert_eq!((line.order.total.as_ref(), line.order.created, line.line_id), (None, None, None));
    let mut unread = line.unread.clone();
    unread.sort_unstable();
    assert_eq!(unread, ["FechaCreacion", "IDItem", "MontoTotalOC"]);
    assert_eq!(line.order.row.origin.raw.to_json()["MontoTotalOC"], "12 mil");
}

#[test]
fn an_amount_without_currency_is_no_money_and_none_is_assumed() {
    let bytes = order(&[("MontoTotalOC", "100"), ("precioNeto", "5"), ("monedaItem", "USD")]);
    let line = line(bytes);
    assert_eq!(line.order.total, None);
    assert_eq!(line.item.unit_price, Some(Money::new(decimal("5"), Currency::Usd)));
}

#[test]
fn columns_are_found_by_name_in_any_order_case_and_accent() {
    let header = "\u{FEFF}\"CÓDIGO\";\"nombre\";\"NombreProductoGenérico\";\"Código_Convenio Marco\"";
    let others: Vec<String> =
        ORDER.split(' ').skip(2).map(|name| format!("\"{}\"", name.to_uppercase())).collect();
    let fields = vec!["\"7\""; others.len()].join(";");
    let text =
        format!("{header};{}\n\"1-1-SE26\";\"Uno\";\"Lápiz\";\"2239-9-LR22\";{fields}\n", others.join(";"));
    // A file in UTF-8, with a byte order mark.
    let line = line(text);
    assert_eq!((line.order.row.code.as_str(), line.item.name.as_str()), ("1-1-SE26", "Lápiz"));
    assert_eq!((line.agreement_code.as_deref(), line.line_id), (Some("2239-9-LR22"), Some(7)));
}

#[test]
fn missing_and_unknown_columns_are_refused_by_name() {
    let error = read::<OrderLine>("\"Codigo\";\"Nombre\"\r\n", ReadOptions::default()).expect_err("missing");
    assert_eq!(error.kind(), ErrorKind::ResponseInvalid);
    assert!(error.message().contains("lacks columns: 'codigoEstado'"), "{error}");
    assert!(error.context().iter().any(|(name, file)| *name == "file" && file == "2026-6.csv"));
    // A database's excuse was once published as a file.
    let excuse = "42000 927 [Microsoft][ODBC SQL Server Driver][SQL Server]Database cannot be opened.\r\n";
    assert!(
        read::<OrderLine>(excuse, ReadOptions::default()).expect_err("excuse").message().contains("lacks")
    );
    let bytes = order(&[("ColumnaNueva", "x")]);
    let error = read::<OrderLine>(bytes.clone(), ReadOptions::default()).expect_err("unknown");
    assert!(error.message().contains("unknown columns: 'ColumnaNueva'"), "{error}");
    let options = ReadOptions::default().with_unknown_columns(UnknownColumns::Keep);
    let line = read::<OrderLine>(bytes, options).expect("kept").remove(0);
    assert_eq!(line.order.row.origin.raw.to_json()["ColumnaNueva"], "x");
    // A set is not read as another.
    let error = read::<OrderLine>(monthly::quotes(1).csv(), ReadOptions::default()).expect_err("another set");
    assert!(error.message().contains("lacks"), "{error}");
}

#[test]
fn pages_of_markup_and_empty_files_are_told() {
    for (text, says) in
        [("<?xml version=\"1.0\"?><Error>x</Error>", "HTML page"), ("", "is empty"), ("\r\n\r\n", "is empty")]
    {
        let error = read::<OrderLine>(text, ReadOptions::default()).expect_err(says);
        assert!(error.message().contains(says), "{error}");
    }
}

#[test]
fn a_row_of_another_width_is_refused_and_nothing_comes_after() {
    let mut bytes = order(&[("Codigo", "1-1-SE26")]);
    let row = bytes.split(|byte| *byte == b'\n').nth(1).expect("a row").to_vec();
    bytes.extend_from_slice(b"\"a\";\"b\"\r\n");
    bytes.extend_from_slice(&row);
    let mut rows =
        Rows::<OrderLine>::csv("x.csv", Cursor::new(bytes), ReadOptions::default()).expect("opened");
    assert!(rows.next().expect("a row").is_ok());
    let error = rows.next().expect("an error").expect_err("another width");
    assert!(error.message().contains("row 3 has 2 fields where the header has 17"), "{error}");
    assert!(rows.next().is_none());
}

#[test]
fn every_made_up_row_is_read_and_nothing_of_it_is_lost() {
    fn all<T: BulkRow>(
        made: monthly::MonthlyFile,
        columns: usize,
        unread: fn(&T) -> usize,
        raw: fn(&T) -> serde_json::Value,
    ) {
        let bytes = made.with_rows(300).csv();
        let rows = read::<T>(bytes, ReadOptions::default()).expect("read");
        assert_eq!(rows.len(), 300);
        for row in &rows {
            assert_eq!((unread(row), raw(row).as_object().expect("an object").len()), (0, columns));
        }
    }
    all::<OrderLine>(
        monthly::order_lines(3),
        78,
        |row| row.unread.len(),
        |row| row.order.row.origin.raw.to_json(),
    );
    all::<TenderOffer>(
        monthly::tender_offers(3),
        111,
        |row| row.unread.len(),
        |row| row.tender.row.origin.raw.to_json(),
    );
    all::<QuoteLine>(
        monthly::quotes(3),
        34,
        |row| row.unread.len(),
        |row| row.purchase.row.origin.raw.to_json(),
    );
}

const OFFER: &str = "CodigoExterno Nombre CodigoEstado CodigoOrganismo RutUnidad CodigoMoneda FechaCierre FechaPublicacion Codigoitem CodigoProductoONU Cantidad RutProveedor MontoUnitarioOferta";

fn offer(fields: &[(&str, &str)]) -> TenderOffer {
    let selected = ("Oferta seleccionada", "NA");
    let is_given = fields.iter().any(|(name, _)| *name == selected.0);
    let fields: Vec<_> = fields.iter().copied().chain((!is_given).then_some(selected)).collect();
    read::<TenderOffer>(file(OFFER, &fields), ReadOptions::default()).expect("read").remove(0)
}

#[test]
fn an_offer_that_lost_is_read_whole() {
    let row = offer(&[
        ("CodigoExterno", "2563-1-LR24"),
        ("CodigoEstado", "8"),
        ("Estado", "Adjudicada"),
        ("CodigoMoneda", "CLP"),
        ("MontoEstimado", "1e+10"),
        ("Modalidad", "RFB_CONTRACT_PAYMENT_METHOD_30_DAYS"),
        ("TiempoDuracionContrato", "60"),
        ("UnidadTiempoDuracionContrato", "RFB_TIME_PERIOD_MONTHS"),
        ("FechaAdjudicacion", "2025-01-29"),
        ("FechaVisitaTerreno", "1900-01-01"),
        ("NumeroOferentes", "2"),
        ("CriteriosEvaluacion", "Precio ; Plazo"),
        ("Rubro1", "A"),
        ("Rubro2", "B"),
        ("Nombre producto genérico", "Cable"),
        ("RutProveedor", "92.580.000-7"),
        ("NombreProveedor", "ENTEL"),
        ("Moneda de la Oferta", "Unidad de Fomento"),
        ("MontoUnitarioOferta", "49628075,54"),
        ("Valor Total Ofertado", "2977684532,4"),
        ("Cantidad Ofertada", "60"),
        ("Oferta seleccionada", "No sleccionada"),
        ("FechaEnvioOferta", "2024-12-09"),
    ]);
    assert_eq!(row.tender.row.state, TenderState::Awarded);
    assert_eq!(row.tender.estimated_amount, Some(Money::new(decimal("10000000000"), Currency::Clp)));
    assert_eq!(row.tender.payment, Some(PaymentTerm::Days30));
    assert_eq!(row.tender.contract_duration, Some((decimal("60"), TimeUnit::Months)));
    assert_eq!(row.tender.award.expect("an award").bidders, Some(2));
    assert_eq!((row.tender.dates.site_visit, row.item.category.as_deref()), (None, Some("A / B")));
    assert_eq!((row.criteria.as_deref(), row.item.name.as_str()), (Some("Precio ; Plazo"), "Cable"));
    let offer = row.offer.expect("an offer");
    assert_eq!((offer.selected, offer.supplier.name.as_str()), (Some(false), "ENTEL"));
    assert_eq!(offer.unit_price, Some(Money::new(decimal("49628075.54"), Currency::Clf)));
    assert_eq!(offer.sent.expect("sent").date().to_string(), "2024-12-09");
}

#[test]
fn a_line_without_offers_has_none_and_an_open_tender_no_award() {
    let row = offer(&[
        ("CodigoEstado", "5"),
        ("FechaAdjudicacion", "2026-12-01"),
        ("FechaEstimadaAdjudicacion", "2026-12-01"),
    ]);
    assert_eq!((row.offer, row.tender.award, row.tender.dates.awarded), (None, None, None));
    assert!(row.tender.dates.expected_award.is_some());
    for (number, state) in
        [("15", TenderState::Revoked), ("18", TenderState::Revoked), ("16", TenderState::Suspended)]
    {
        assert_eq!(offer(&[("CodigoEstado", number)]).tender.row.state, state);
    }
}

#[test]
fn names_that_come_twice_are_told_apart() {
    let names = [
        "UnidadMedida",
        "UnidadMedida",
        "DescripcionCriteriosRequisitosSociales",
        "DescripcionCriteriosRequisitosSociales.1",
    ];
    let header: Vec<String> = OFFER.split(' ').chain(names).map(|name| format!("\"{name}\"")).collect();
    let fields: Vec<String> = (0..header.len()).map(|number| format!("\"{number}\"")).collect();
    let text = format!("{};\"Estado final Oferta\"\n{};\"Ganadora\"\n", header.join(";"), fields.join(";"));
    let row = read::<TenderOffer>(text, ReadOptions::default()).expect("read").remove(0);
    assert_eq!(row.item.unit.as_deref(), Some("13"));
    let raw = row.tender.row.origin.raw.to_json();
    assert_eq!(
        (&raw["UnidadMedida.1"], &raw["DescripcionCriteriosRequisitosSociales.1"]),
        (&"14".into(), &"16".into())
    );
    assert_eq!(row.offer.expect("an offer").selected, Some(true));
}

#[test]
fn personal_data_can_be_dropped_before_anything_is_kept() {
    let bytes = monthly::quotes(5).with_rows(20).csv();
    let kept = read::<QuoteLine>(bytes.clone(), ReadOptions::default()).expect("read");
    assert!(kept.iter().all(|row| row.purchase.buyer.as_ref().is_some_and(|buyer| buyer.contact.is_some())));
    let dropped = read::<QuoteLine>(bytes, ReadOptions::default().with_personal_data(false)).expect("read");
    for row in dropped {
        assert_eq!(row.purchase.buyer.expect("a buyer").contact, None);
        assert_eq!(row.purchase.row.origin.raw.to_json()["NOMBRECONTACTO"], "");
    }
}

#[test]
fn a_quote_is_read_whole() {
    let needed = "RUTUnidaddeCompra CodigoCotizacion NombreCotizacion FechaPublicacionParaCotizar MontoTotalDisponble CodigoProducto CantidadSolicitada Estado RUTProveedor ProveedorSeleccionado moneda MontoTotal";
    let bytes = file(
        needed,
        &[
            ("CodigoCotizacion", "1079967-350-COT26"),
            ("Estado", "OC Emitida"),
            ("Region", "Región del Maule "),
            ("PlazoEntrega", "5"),
            ("MontoTotalDisponble", "500000"),
            ("moneda", "CLP"),
            ("MontoTotal", "499999,5"),
            ("RUTProveedor", "78.167.575-K"),
            ("ProveedorSeleccionado", "si"),
            ("CodigoOC", "1079967-9-AG26"),
            ("Tamano", "MiPyme"),
        ],
    );
    let row = read::<QuoteLine>(bytes, ReadOptions::default()).expect("read").remove(0);
    assert_eq!(row.purchase.row.state, QuickPurchaseState::OrderIssued);
    assert_eq!((row.purchase.row.region, row.purchase.delivery_days), (Some(7), Some(5)));
    assert_eq!(row.purchase.row.budget, Some(Money::new(decimal("500000"), Currency::Clp)));
    let quote = row.quote.expect("a quote");
    assert_eq!(
        (quote.chosen, quote.total),
        (Some(true), Some(Money::new(decimal("499999.5"), Currency::Clp)))
    );
    assert_eq!(row.purchase.order_code.as_deref(), Some("1079967-9-AG26"));
}

#[test]
fn several_files_of_an_archive_are_read_one_after_another() {
    let (one, two) = (monthly::quotes(1).with_rows(30).csv(), monthly::quotes(2).with_rows(12).csv());
    let bytes = zip(&[("COT1_2026-06.csv", &one), ("leame.txt", b"x"), ("COT2_2026-06.CSV", &two)]);
    let archive = Archive::of(Cursor::new(bytes), ArchiveLimits::default()).expect("opened");
    let mut rows = Rows::<QuoteLine>::archive(archive, ReadOptions::default()).expect("opened");
    assert_eq!(rows.by_ref().filter(|row| row.is_ok()).count(), 42);
    let place = rows.progress();
    let all = (one.len() + two.len()) as u64;
    assert_eq!((place.rows, place.bytes, place.of_bytes), (42, all, Some(all)));
    assert_eq!(place.file, "COT2_2026-06.CSV");
    let none =
        Archive::of(Cursor::new(zip(&[("leame.txt", b"x")])), ArchiveLimits::default()).expect("opened");
    assert!(Rows::<QuoteLine>::archive(none, ReadOptions::default()).is_err());
}

#[test]
fn lines_that_follow_one_another_are_one_order() {
    let rows = |bytes: &[u8]| {
        Rows::<OrderLine>::csv("x", Cursor::new(bytes.to_vec()), ReadOptions::default()).expect("opened")
    };
    let bytes = monthly::order_lines(9).with_rows(200).csv();
    let lines: Vec<OrderLine> = rows(&bytes).map(|line| line.expect("a line")).collect();
    let orders: Vec<GroupedOrder> = Orders::new(rows(&bytes)).map(|order| order.expect("an order")).collect();
    assert!(orders.len() < 100 && orders.iter().any(|order| order.order.items.len() > 1));
    let items: Vec<_> = orders.iter().flat_map(|order| order.order.items.clone()).collect();
    assert_eq!(items, lines.iter().map(|line| line.item.clone()).collect::<Vec<_>>());
    for order in &orders {
        assert_eq!(order.continued, Some(false));
        let raw = order.order.row.origin.raw.to_json();
        assert_eq!(raw.as_array().expect("an array").len(), order.order.items.len());
        assert_eq!(raw[0]["Codigo"], order.order.row.code);
    }
}

#[test]
fn an_order_that_comes_back_later_says_so() {
    let line = |code: &str| {
        let bytes = order(&[("Codigo", code)]);
        bytes.split_inclusive(|byte| *byte == b'\n').nth(1).expect("a row").to_vec()
    };
    let mut bytes = order(&[("Codigo", "1-1-SE26")]);
    bytes.extend([line("1-2-SE26"), line("1-2-SE26"), line("1-1-SE26")].concat());
    let rows = Rows::<OrderLine>::csv("x", Cursor::new(bytes), ReadOptions::default()).expect("opened");
    let orders: Vec<GroupedOrder> = Orders::new(rows).map(|order| order.expect("an order")).collect();
    let told: Vec<_> = orders
        .iter()
        .map(|order| (order.order.row.code.as_str(), order.order.items.len(), order.continued))
        .collect();
    assert_eq!(
        told,
        [("1-1-SE26", 1, Some(false)), ("1-2-SE26", 2, Some(false)), ("1-1-SE26", 1, Some(true))]
    );
}
