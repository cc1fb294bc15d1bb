//! What every request passes first: the lock of its account, and the quota.

pub(crate) mod account_lock;
pub(crate) mod budget;
pub(crate) mod ledger;
pub(crate) mod lock_file;
pub(crate) mod store_lease;

#[cfg(all(test, feature = "postgres"))]
mod machines_tests;

use sha2::{Digest, Sha256};

use crate::secret::Secret;

/// A name for the account of a ticket: the same in every process, and without a way back to the ticket.
pub(crate) fn account(host: &str, ticket: &Secret) -> String {
    let mut hash = Sha256::new();
    for part in ["ayni procurement account", host, ticket.expose()] {
        hash.update(part.len().to_le_bytes());
        hash.update(part);
    }
    hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn account_names_differ_and_do_not_show_the_ticket() {
        let ticket = Secret::new("F8537A18-6766-4DEF-9E59-426B4FEE2844");
        let name = account("api.test", &ticket);
        assert_eq!(name, account("api.test", &ticket));
        assert_ne!(name, account("api.test", &Secret::new("other")));
        assert!(name.len() == 16 && !ticket.expose().to_lowercase().contains(&name));
    }
}
