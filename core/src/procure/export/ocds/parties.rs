//! The parties of a tender.

use serde::Serialize;

use crate::procure::tables::folded;
use crate::procure::{Buyer, Rut, Supplier, Tender};

#[derive(Clone, Debug, Serialize)]
pub(super) struct Party {
    pub(super) name: String,
    pub(super) id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    identifier: Option<Identifier>,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<Address>,
    pub(super) roles: Vec<&'static str>,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Identifier {
    scheme: &'static str,
    id: String,
    legal_name: String,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Address {
    #[serde(skip_serializing_if = "Option::is_none")]
    street_address: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    locality: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    region: Option<String>,
    country_name: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Reference {
    pub(super) name: String,
    pub(super) id: String,
}

impl Party {
    pub(super) fn reference(&self) -> Reference {
        Reference { name: self.name.clone(), id: self.id.clone() }
    }

    fn of_buyer(buyer: &Buyer) -> Self {
        let name = match &buyer.unit_name {
            Some(unit) => format!("{} | {unit}", buyer.name),
            None => buyer.name.clone(),
        };
        let [street_address, locality, region] =
            [&buyer.address, &buyer.commune, &buyer.region].map(Clone::clone);
        Self {
            id: id(buyer.unit_code.as_deref(), buyer.tax_number.as_deref(), &buyer.code, &name),
            identifier: identifier(buyer.tax_number.as_deref(), &buyer.name),
            address: Some(Address { street_address, locality, region, country_name: "Chile" }),
            roles: vec!["buyer", "procuringEntity"],
            name,
        }
    }

    fn of_supplier(supplier: &Supplier, role: &'static str) -> Self {
        let address = supplier.region.is_some() || supplier.commune.is_some();
        Self {
            id: supplier_id(supplier),
            identifier: identifier(supplier.tax_number.as_deref(), &supplier.name),
            address: address.then(|| Address {
                street_address: None,
                locality: supplier.commune.clone(),
                region: supplier.region.clone(),
                country_name: "Chile",
            }),
            roles: vec![role],
            name: supplier.name.clone(),
        }
    }
}

/// All parties, each once with all of its roles, the buyer first.
pub(super) fn of(tender: &Tender) -> Vec<Party> {
    let mut parties: Vec<Party> = tender.buyer.iter().map(Party::of_buyer).collect();
    let bidders = tender.bidders.iter().map(|supplier| Party::of_supplier(supplier, "tenderer"));
    let winners = winners(tender).into_iter().map(|supplier| Party::of_supplier(supplier, "supplier"));
    for party in bidders.chain(winners) {
        match parties.iter_mut().find(|known| known.id == party.id) {
            Some(known) => {
                let new: Vec<_> =
                    party.roles.iter().filter(|role| !known.roles.contains(role)).copied().collect();
                known.roles.extend(new);
            }
            None => parties.push(party),
        }
    }
    parties
}

fn winners(tender: &Tender) -> Vec<&Supplier> {
    let of_lines = tender.items.iter().filter_map(|item| item.award.as_ref()).map(|award| &award.supplier);
    tender.award.iter().flat_map(|award| &award.suppliers).chain(of_lines).collect()
}

pub(super) fn supplier_reference(supplier: &Supplier) -> Reference {
    Reference { name: supplier.name.clone(), id: supplier_id(supplier) }
}

fn supplier_id(supplier: &Supplier) -> String {
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

fn identifier(tax_number: Option<&str>, legal_name: &str) -> Option<Identifier> {
    let id = tax_number.map(compact).filter(|id| !id.is_empty())?;
    Some(Identifier { scheme: "CL-RUT", id, legal_name: legal_name.to_owned() })
}

/// A tax number as OCDS writes it, without points and dash.
fn compact(tax_number: &str) -> String {
    tax_number.parse::<Rut>().map_or_else(|_| tax_number.replace(['.', '-', ' '], ""), Rut::compact)
}
