//! The list of models that a vendor offers.
