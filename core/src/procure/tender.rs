//! What follows from a record: the time that is left, who won it and for how much.

use std::time::Duration;

use super::money::Money;
use super::record::{Contact, LineAward, QuickPurchase, Supplier, Tender};
use super::time::Timestamp;

macro_rules! deadlines {
    ($($record:ident),+) => {
        $(impl $record {
            /// When offers close.
            pub fn deadline(&self) -> Option<Timestamp> {
                self.row.closes
            }

            /// The time left to make an offer; `None` after the deadline or if the source has none.
            pub fn time_left(&self, now: Timestamp) -> Option<Duration> {
                self.row.closes?.time_left(now)
            }
        })+
    };
}

deadlines! { Tender, QuickPurchase }

impl Tender {
    /// The total of the decision: as the source has it, else the exact sum of the awarded lines. `None` if a line has no
    /// price, or if they are in several currencies.
    pub fn awarded_total(&self) -> Option<Money> {
        let own = self.award.as_ref().and_then(|award| award.value.clone());
        own.or_else(|| Money::sum(self.line_awards().map(LineAward::total)))
    }

    /// The winners, each once, in the order of the lines.
    pub fn winners(&self) -> Vec<&Supplier> {
        let of_all = self.award.iter().flat_map(|award| &award.suppliers);
        let mut winners: Vec<&Supplier> = Vec::new();
        for supplier in self.line_awards().map(|award| &award.supplier).chain(of_all) {
            let is_known = |known: &&&Supplier| match (&known.tax_number, &supplier.tax_number) {
                (Some(known), Some(own)) => known == own,
                _ => known.name == supplier.name,
            };
            if !winners.iter().any(|known| is_known(&known)) {
                winners.push(supplier);
            }
        }
        winners
    }

    /// The number of bidders: those that the source names, else its count.
    pub fn bidder_count(&self) -> Option<usize> {
        let counted = || usize::try_from(self.award.as_ref()?.bidders?).ok();
        if self.bidders.is_empty() { counted() } else { Some(self.bidders.len()) }
    }

    /// The persons that the record names.
    pub(super) fn contacts(&self) -> impl Iterator<Item = &Contact> {
        let suppliers = self.bidders.iter().chain(self.award.iter().flat_map(|award| &award.suppliers));
        let own = [&self.payment_contact, &self.contract_contact];
        let buyer = self.buyer.iter().filter_map(|buyer| buyer.contact.as_ref());
        buyer
            .chain(own.into_iter().flatten())
            .chain(suppliers.filter_map(|supplier| supplier.contact.as_ref()))
    }

    fn line_awards(&self) -> impl Iterator<Item = &LineAward> {
        self.items.iter().filter_map(|item| item.award.as_ref())
    }
}

impl LineAward {
    /// Quantity times price; `None` if one of them is missing.
    pub fn total(&self) -> Option<Money> {
        let price = self.unit_price.as_ref()?;
        Some(Money::new(price.amount.checked_mul(self.quantity?)?, price.currency.clone()))
    }
}
