//! The bodies of the API of quick purchases (Compra Ágil), version 2.

use super::Body;
use crate::error::{Error, Result};
use crate::procure::json::Fields;
use crate::procure::{
    Buyer, Currency, Document, LineItem, QuickPurchase, QuickPurchaseRow, QuickPurchaseState, Quote, Supplier,
};

#[derive(Debug, Default)]
pub(crate) struct Page {
    pub(crate) rows: Vec<QuickPurchaseRow>,
    /// The number of pages of the requested size; 0 if the source does not say.
    pub(crate) pages: i64,
    /// The number of rows on all pages; the source stops counting at 10,000.
    pub(crate) total: Option<i64>,
}

/// The errors of a failure: the code and message of each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Failures(pub(crate) Vec<(String, String)>);

/// The payload of a success, or its failures.
pub(crate) fn payload(body: &[u8]) -> Result<Result<&str, Failures>> {
    let fields = Fields::of_body(body)?;
    let succeeded = fields.text("success").is_none_or(|success| success.eq_ignore_ascii_case("OK"));
    match fields.raw("payload") {
        Some(payload) if succeeded => Ok(Ok(payload)),
        _ => {
            let errors = fields.objects("errors");
            let told =
                errors.iter().map(|error| (error.text_or_empty("codigo"), error.text_or_empty("mensaje")));
            // The gateway in front of the API writes `{"message": …}`.
            let gateway = fields.text("message").map(|message| (String::new(), message));
            Ok(Err(Failures(told.chain(gateway).collect())))
        }
    }
}

/// The payload of a success.
///
/// # Errors
/// `response_invalid` if the body is a failure.
pub(crate) fn success(body: &[u8]) -> Result<&str> {
    payload(body)?.map_err(|failures| {
        let code = failures.0.into_iter().next().map(|(code, _)| code).unwrap_or_default();
        Error::response_invalid("the body is a failure of the service").with_context("code", code)
    })
}

pub(crate) fn page(body: &Body, payload: &str) -> Result<Page> {
    let fields = Fields::read(payload).unwrap_or_default();
    if fields.raw("items").is_none_or(|items| !items.starts_with('[')) {
        return Err(Error::response_invalid("the answer has no list of items"));
    }
    let row = |written: &str| {
        let own = Fields::read(written);
        let own = own.ok_or_else(|| Error::response_invalid("an item of the list is not an object"))?;
        Ok(body.record(written, &own, row_of(body, &own)))
    };
    let paging = fields.object("paginacion").unwrap_or_default();
    Ok(Page {
        rows: fields.elements("items").into_iter().map(row).collect::<Result<_>>()?,
        pages: paging.whole("total_paginas").unwrap_or(0),
        total: paging.whole("total_resultados"),
    })
}

fn row_of(body: &Body, fields: &Fields<'_>) -> QuickPurchaseRow {
    // Each of these may be null.
    let part = |name| fields.object(name).unwrap_or_default();
    let (times, buyer, state) = (part("fechas"), part("institucion"), part("estado"));
    // Lists have `montos`, details have `presupuesto`.
    let money = fields.object("montos").or_else(|| fields.object("presupuesto")).unwrap_or_default();
    let currency = money.currency("moneda");
    let named = state.text("codigo").or_else(|| state.text("glosa")).or_else(|| fields.text("estado"));
    let state = named.map(|name| QuickPurchaseState::from(name.as_str()));
    QuickPurchaseRow {
        published: times.time("fecha_publicacion", body.mark),
        closes: times.time("fecha_cierre", body.mark),
        changed: times.time("fecha_ultimo_cambio", body.mark),
        call: part("convocatoria").whole("estado_convocatoria"),
        budget: money.money("monto_disponible", currency.as_ref()),
        budget_in_pesos: money.money("monto_disponible_clp", Some(&Currency::Clp)),
        buyer_name: buyer.text("organismo_comprador"),
        buyer_tax_number: buyer.text("rut"),
        region: buyer.whole("region"),
        offers: part("resumen").whole("total_ofertas_recibidas"),
        ..QuickPurchaseRow::new(
            fields.text_or_empty("codigo"),
            fields.text_or_empty("nombre"),
            state.unwrap_or_default(),
        )
    }
}

pub(crate) fn detail(body: &Body, written: &str) -> Result<QuickPurchase> {
    let fields = Fields::read(written)
        .filter(|fields| fields.text("codigo").is_some())
        .ok_or_else(|| Error::response_invalid("the answer contains no quick purchase"))?;
    let part = |name| fields.object(name).unwrap_or_default();
    let reasons = part("motivos");
    let (call, delivery, buyer) = (part("convocatoria"), part("entrega"), part("institucion"));
    let currency = part("presupuesto").currency("moneda");
    let (summary, flags) = (part("resumen"), part("flags"));
    let purchase = QuickPurchase {
        row: row_of(body, &fields),
        description: fields.text_or_empty("descripcion"),
        buyer: fields.object("institucion").map(|_| Buyer {
            tax_number: buyer.text("rut"),
            unit_name: buyer.text("unidad_compra"),
            region: buyer.text("nombre_region"),
            ..Buyer::new("", buyer.text_or_empty("organismo_comprador"))
        }),
        first_call_closes: call.time("fecha_cierre_primer_llamado", body.mark),
        second_call_closes: call.time("fecha_cierre_segundo_llamado", body.mark),
        delivery_address: delivery.text("direccion_entrega"),
        delivery_days: delivery.whole("plazo_entrega_dias"),
        // The guide documents an object `orden_compra`; real answers have a member at the root.
        order_code: fields.text("id_orden_compra").or_else(|| part("orden_compra").text("id_orden_compra")),
        items: fields.objects("productos_solicitados").iter().map(item).collect(),
        quotes: fields
            .objects("proveedores_cotizando")
            .iter()
            .map(|quote| self::quote(body, quote, currency.as_ref()))
            .collect(),
        documents: fields
            .objects("documentos")
            .iter()
            .map(|document| Document::new(document.text_or_empty("id"), document.text_or_empty("nombre")))
            .collect(),
        cancel_reason: reasons.text("motivo_cancelacion"),
        deserted_reason: reasons.text("motivo_desierta"),
        choice_reason: reasons.text("motivo_seleccion"),
        penalties: summary.flag("multa_sancion"),
        environmental_requirements: flags.flag("considera_requisitos_medioambientales"),
        social_requirements: flags.flag("considera_requisitos_impacto_social_economico"),
    };
    Ok(body.record(written, &fields, purchase))
}

fn item(fields: &Fields<'_>) -> LineItem {
    LineItem {
        description: fields.text("descripcion"),
        product_code: super::tender::code(fields, "codigo_producto"),
        quantity: fields.decimal("cantidad"),
        unit: fields.text("unidad_medida"),
        ..LineItem::new(fields.text_or_empty("nombre"))
    }
}

fn quote(body: &Body, fields: &Fields<'_>, currency: Option<&Currency>) -> Quote {
    Quote {
        supplier: Supplier {
            tax_number: fields.text("rut_proveedor"),
            branch_code: fields.text("codigo_sucursal_empresa"),
            ..Supplier::new(fields.text_or_empty("codigo_empresa"), fields.text_or_empty("razon_social"))
        },
        description: fields.text("descripcion_cotizacion").or_else(|| fields.text("descripcion")),
        net: fields.money("valor_neto", currency),
        total: fields.money("monto_total", currency),
        chosen: fields.flag("proveedor_seleccionado"),
        made: fields.time("fecha_creacion", body.mark),
        valid_until: fields.time("fecha_vigencia", body.mark),
        taxes: fields.money("total_impuesto", currency),
        shipping: fields.money("monto_despacho", currency),
        inadmissible: fields.text("justificacion_inadmisibilidad"),
        items: fields.objects("productos_cotizados").iter().map(|line| quoted(line, currency)).collect(),
    }
}

/// A line of a quote. No capture has one: the names are those of the requested lines, and of the quote's own amounts.
fn quoted(fields: &Fields<'_>, currency: Option<&Currency>) -> LineItem {
    let money = |names: [&'static str; 2]| names.into_iter().find_map(|name| fields.money(name, currency));
    LineItem {
        unit_price: money(["precio_unitario", "valor_unitario"]),
        total: money(["monto_total", "total"]),
        ..item(fields)
    }
}
