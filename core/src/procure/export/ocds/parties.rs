//! The parties of a tender.

use super::node::{Node, object};
use crate::procure::tables::folded;
use crate::procure::{Buyer, Rut, Supplier, Tender};

#[derive(Debug)]
pub(super) struct Party {
    name: String,
    id: String,
    identifier: Node,
    address: Node,
    pub(super) roles: Vec<&'static str>,
}

impl Party {
    pub(super) fn reference(&self) -> Node {
        object! { "name": &self.name, "id": &self.id }
    }

    pub(super) fn node(&self) -> Node {
        object! {
            "name": &self.name,
            "id": &self.id,
            "identifier": self.identifier.clone(),
            "address": self.address.clone(),
            "roles": Node::from_iter(self.roles.iter().copied()),
        }
    }

    fn of_buyer(buyer: &Buyer) -> Self {
        let name = match &buyer.unit_name {
            Some(unit) => format!("{} | {unit}", buyer.name),
            None => buyer.name.clone(),
        };
        Self {
            id: id(buyer.unit_code.as_deref(), buyer.tax_number.as_deref(), &buyer.code, &name),
            identifier: identifier(buyer.tax_number.as_deref(), &buyer.name),
            address: object! {
                "streetAddress": buyer.address.as_ref(),
                "locality": buyer.commune.as_ref(),
                "region": buyer.region.as_ref(),
                "countryName": "Chile",
            },
            roles: vec!["buyer", "procuringEntity"],
            name,
        }
    }

    fn of_supplier(supplier: &Supplier, role: &'static str) -> Self {
        let has_place = supplier.region.is_some() || supplier.commune.is_some();
        Self {
            id: supplier_id(supplier),
            identifier: identifier(supplier.tax_number.as_deref(), &supplier.name),
            address: object! {
                "locality": supplier.commune.as_ref(),
                "region": supplier.region.as_ref(),
                "countryName": has_place.then_some("Chile"),
            },
            roles: vec![role],
            name: supplier.name.clone(),
        }
    }
}

/// All parties, each once with all of its roles, the buyer first.
pub(super) fn of(tender: &Tender) -> Vec<Party> {
    let mut parties: Vec<Party> = tender.buyer.iter().map(Party::of_buyer).collect();
    let bidders = tender.bidders.iter().map(|supplier| Party::of_supplier(supplier, "tenderer"));
    let lines = tender.items.iter().filter_map(|item| item.award.as_ref()).map(|award| &award.supplier);
    let winners = tender.award.iter().flat_map(|award| &award.suppliers).chain(lines);
    for party in bidders.chain(winners.map(|supplier| Party::of_supplier(supplier, "supplier"))) {
        match parties.iter_mut().find(|known| known.id == party.id) {
            Some(known) if party.roles.iter().all(|role| known.roles.contains(role)) => {}
            Some(known) => known.roles.extend(party.roles),
            None => parties.push(party),
        }
    }
    parties
}

pub(super) fn supplier_reference(supplier: &Supplier) -> Node {
    object! { "name": &supplier.name, "id": supplier_id(supplier) }
}

/// What tells one supplier from another.
pub(super) fn supplier_id(supplier: &Supplier) -> String {
    id(supplier.branch_code.as_deref(), supplier.tax_number.as_deref(), &supplier.code, &supplier.name)
}

/// `CL-MP-…` if the source has a code of a unit or branch, else the tax number, else the code or the name.
fn id(unit: Option<&str>, tax_number: Option<&str>, code: &str, name: &str) -> String {
    if let Some(unit) = unit.filter(|unit| !unit.is_empty()) {
        return format!("CL-MP-{unit}");
    }
    match tax_number.map(compact) {
        Some(tax_number) if !tax_number.is_empty() => format!("CL-RUT-{tax_number}"),
        _ if !code.is_empty() => format!("code-{code}"),
        _ => format!("name-{}", folded(name)),
    }
}

fn identifier(tax_number: Option<&str>, legal_name: &str) -> Node {
    let id = tax_number.map(compact).filter(|id| !id.is_empty());
    id.map(|id| object! { "scheme": "CL-RUT", "id": id, "legalName": legal_name }).into()
}

/// A tax number as OCDS writes it, without points and dash.
fn compact(tax_number: &str) -> String {
    tax_number.parse::<Rut>().map_or_else(|_| tax_number.replace(['.', '-', ' '], ""), Rut::compact)
}
