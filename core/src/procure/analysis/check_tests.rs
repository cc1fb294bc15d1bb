//! Whatever a record says, a claim that copies it holds, and one that changes it does not.

use proptest::prelude::*;

use super::*;
use crate::procure::analysis::Question;
use crate::procure::{Buyer, Currency, Money, Rut, Tender, TenderRow, Timestamp};

fn moment(millis: i64) -> Timestamp {
    Timestamp::of_unix_millis(millis)
}

/// Whether a claim that names the field at `path` holds.
fn holds(tender: &Tender, path: &str, text: &str, language: Language) -> bool {
    let view = View::of(tender, &Question::summary(), moment(1_792_000_000_000));
    let number = view.fields.iter().find(|field| field.path == path).expect(path).number;
    claim(&view, RawClaim { text: text.to_owned(), cites: vec![Ok(number)] }, language).is_ok()
}

fn of_amount(money: Money) -> Tender {
    Tender { estimated_amount: Some(money), ..Tender::default() }
}

/// An amount as English writes it.
fn english(money: &Money) -> String {
    let chilean = money.amount.chilean();
    let swapped = chilean.chars().map(|c| match c {
        '.' => ',',
        ',' => '.',
        other => other,
    });
    format!("{} {}", money.currency.as_str(), swapped.collect::<String>())
}

fn currencies() -> impl Strategy<Value = Currency> {
    prop::sample::select(vec![Currency::Clp, Currency::Clf, Currency::Utm, Currency::Usd, Currency::Eur])
}

proptest! {
    #[test]
    fn amounts_hold_exactly(digits in 1_000_i128..1_000_000_000_000_000, scale in 0_u8..3, currency in currencies()) {
        let money = Money::new(Decimal::new(digits, scale), currency);
        let tender = of_amount(money.clone());
        let path = "/estimated_amount";
        for written in [money.chilean(), format!("{} {}", money.amount.chilean(), money.currency.as_str())] {
            let text = format!("Cuesta {written}, según el registro.");
            prop_assert!(holds(&tender, path, &text, Language::Spanish), "{}", text);
        }
        let text = format!("It costs {}, the record says.", english(&money));
        prop_assert!(holds(&tender, path, &text, Language::English), "{}", text);
    }

    #[test]
    fn changed_amounts_and_currencies_never_hold(
        digits in 1_000_i128..1_000_000_000_000_000, scale in 0_u8..3, change in 1_i128..1_000_000, currency in currencies(),
    ) {
        let money = Money::new(Decimal::new(digits, scale), currency.clone());
        let tender = of_amount(money.clone());
        let changed = Money::new(Decimal::new(digits + change, scale), currency.clone());
        let another = if currency == Currency::Clp { Currency::Clf } else { Currency::Clp };
        let exchanged = Money::new(money.amount, another);
        for wrong in [changed, exchanged] {
            let (spanish, in_english) = (wrong.chilean(), english(&wrong));
            prop_assert!(!holds(&tender, "/estimated_amount", &spanish, Language::Spanish), "{}", spanish);
            prop_assert!(!holds(&tender, "/estimated_amount", &in_english, Language::English), "{}", in_english);
        }
    }

    #[test]
    fn moments_hold_to_the_minute(minutes in 16_000_000_i64..60_000_000, change in 1_i64..100_000) {
        let closes = moment(minutes * 60_000);
        let row = TenderRow { closes: Some(closes), ..TenderRow::new("1-1-LE26", "x", "publicada") };
        let tender = Tender { row, ..Tender::default() };
        let said = |moment: Timestamp| format!("Cierra el {} horas.", moment.chilean());
        let until = |moment: Timestamp| format!("Until {moment}.");
        prop_assert!(holds(&tender, "/row/closes", &said(closes), Language::Spanish));
        prop_assert!(holds(&tender, "/row/closes", &until(closes), Language::English));
        let other = moment((minutes + change) * 60_000);
        // An hour that happens twice a year reads the same.
        if other.chilean() != closes.chilean() {
            prop_assert!(!holds(&tender, "/row/closes", &said(other), Language::Spanish));
        }
        prop_assert!(!holds(&tender, "/row/closes", &until(other), Language::English));
    }

    #[test]
    fn tax_numbers_hold_in_every_form_and_no_other_does(number in 1_000_000_u32..99_999_999, other in 1_000_000_u32..99_999_999) {
        let rut = Rut::new(number).expect("in range");
        let buyer = Buyer { tax_number: Some(rut.to_string()), ..Buyer::new("1", "x") };
        let tender = Tender { buyer: Some(buyer), ..Tender::default() };
        let dashed = |rut: Rut| format!("{}-{}", rut.number(), rut.check_digit());
        for written in [rut.to_string(), rut.to_string().to_lowercase(), dashed(rut)] {
            prop_assert!(holds(&tender, "/buyer/tax_number", &format!("RUT {written}."), Language::Spanish), "{}", written);
        }
        prop_assume!(number != other);
        let other = Rut::new(other).expect("in range");
        for written in [other.to_string(), dashed(other)] {
            prop_assert!(!holds(&tender, "/buyer/tax_number", &format!("RUT {written}."), Language::Spanish), "{}", written);
        }
    }

    #[test]
    fn no_claim_makes_it_panic(text in "\\PC{0,120}", number in 0_usize..40) {
        let view = View::of(&Tender::default(), &Question::summary(), moment(0));
        let made = RawClaim { text, cites: vec![Ok(number), Err("x".to_owned())] };
        prop_assert!(claim(&view, made, Language::English).is_err());
    }
}
