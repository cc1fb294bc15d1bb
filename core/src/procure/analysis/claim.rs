//! Claims: the model writes references to fields, and this writes what those fields say in their place. Around references a
//! sentence may hold neither values nor words for facts that no referenced field carries.

use super::outcome::{Citation, Claim, RejectedClaim, Rejection};
use super::question::Language;
use super::view::{Field, View};
use crate::procure::tables::{fold_letter, folded};

/// The longest claim, in characters.
const MAX_CLAIM_CHARS: usize = 800;

/// Words that state a fact, also with an `s`: a number, a unit, a currency, a date, a state, a winner. A claim may use one
/// only if a field that it references does.
const FACT_WORDS: &str = "dos tres seis once doce mil cien ciento two four six nine ten half mitad dia day hora mes ano euro \
    eur uf utm clp clf usd mayo march hoy open cerrado cerrada gano won";

/// Beginnings of such words, also for months, days of the week, regions and kinds of tender.
const FACT_BEGINNINGS: &str = "cuatro cinco siete ocho nueve diez catorce quince dieci veint treint cuarent cincuent sesent \
    setent ochent novent doscient trescient cuatrocient quinient seiscient setecient ochocient novecient miles millon billon \
    docena three five seven eight eleven twelve thirt fourt fift twent forty hundred thousand million dozen minut hour \
    semana week meses month years year peso dolar dollar percent porcient \
    enero febrero marzo abril junio julio agosto septiembre setiembre octubre noviembre diciembre january february april \
    june july august september october november december lunes martes miercoles jueves viernes sabado domingo monday \
    tuesday wednesday thursday friday saturday sunday manana ayer today tomorrow yesterday \
    publicad abiert vigente desiert adjudicad revocad suspendid cancelad anulad finalizad terminad concluid published closed \
    deserted awarded revoked suspended cancelled canceled finished ended adjudicatari ganador winner winning privad private \
    tarapaca antofagasta atacama coquimbo valparaiso ohiggins higgins maule biobio araucania aysen aisen magallanes \
    metropolitan santiago arica parinacota nuble losrios loslagos";

/// Words that deny what follows. No field says what is not so.
const NEGATIONS: [&str; 10] =
    ["no", "not", "ni", "sin", "nunca", "tampoco", "never", "without", "isnt", "wasnt"];

/// Writes a claim, or says why it can't be written.
pub(super) fn write(view: &View, raw: &str, language: Language) -> Result<Claim, RejectedClaim> {
    let mut draft = Draft { view, language, text: String::new(), prose: String::new(), fields: Vec::new() };
    let outcome = draft.write(raw);
    let text = match &outcome {
        Ok(()) => draft.text.split_whitespace().collect::<Vec<_>>().join(" "),
        Err(_) => raw.chars().take(MAX_CLAIM_CHARS).collect(),
    };
    let citation = |field: &&Field| Citation { path: field.path.clone(), value: field.shown.clone() };
    let citations = draft.fields.iter().map(citation).collect();
    let opinion = draft.fields.iter().all(|field| matches!(&*field.path, "/row/code" | "/row/name"));
    match outcome {
        Ok(()) => Ok(Claim { text, citations, opinion }),
        Err(reason) => Err(RejectedClaim { text, citations, reason }),
    }
}

/// A claim that is being written.
struct Draft<'a> {
    view: &'a View,
    language: Language,
    text: String,
    /// The model's own words, with a blank for each reference.
    prose: String,
    fields: Vec<&'a Field>,
}

impl<'a> Draft<'a> {
    fn write(&mut self, raw: &str) -> Result<(), Rejection> {
        let mut rest = raw;
        while let Some((before, behind)) = rest.split_once('{') {
            let (reference, behind) =
                behind.split_once('}').ok_or_else(|| Rejection::Unclear { written: shortened(behind) })?;
            self.text.push_str(before);
            self.prose.push_str(before);
            self.prose.push(' ');
            self.reference(reference)?;
            rest = behind;
        }
        self.text.push_str(rest);
        self.prose.push_str(rest);
        if self.text.trim().is_empty() || self.text.chars().count() > MAX_CLAIM_CHARS {
            return Err(Rejection::Length);
        }
        self.check_prose()
    }

    /// Writes what `4`, `/row/closes` or `12: multa del 5 %` stands for.
    fn reference(&mut self, reference: &str) -> Result<(), Rejection> {
        let (name, excerpt) =
            reference.split_once(':').map_or((reference, None), |(name, own)| (name, Some(own)));
        let name = name.trim().trim_matches(['[', ']']);
        let number = name.parse().ok();
        let field = self.view.fields.iter().find(|field| Some(field.number) == number || field.path == name);
        let field = field.ok_or_else(|| Rejection::UnknownField { field: shortened(name) })?;
        if !self.fields.iter().any(|known| known.number == field.number) {
            self.fields.push(field);
        }
        let Some(excerpt) = excerpt else {
            self.text.push_str(&field.written);
            return Ok(());
        };
        let found = find(&field.shown, excerpt)
            .ok_or_else(|| Rejection::NotInFields { written: shortened(excerpt.trim()) })?;
        let [open, close] = if self.language == Language::Spanish { ["«", "»"] } else { ["“", "”"] };
        self.text.extend([open, found, close]);
        Ok(())
    }

    /// Checks that the model's own words hold no value, and no fact that none of the fields carries.
    fn check_prose(&self) -> Result<(), Rejection> {
        let is_value = |c: char| {
            c.is_numeric() || matches!(c, '$' | '€' | '%' | '@' | '«' | '»' | '“' | '”' | '"' | '}')
        };
        let written =
            |word: &str| word.trim_matches(|c: char| !c.is_alphanumeric() && !is_value(c)).to_owned();
        let words: Vec<&str> = self.prose.split_whitespace().collect();
        if let Some(word) = words.iter().find(|word| word.contains(is_value) || word.contains("://")) {
            return Err(Rejection::NotInFields { written: shortened(&written(word)) });
        }
        // `por ciento` and `Los Lagos` are facts of two words.
        let joined = words.windows(2).map(|pair| pair.concat());
        let singles = words.iter().flat_map(|word| word.split(['-', '/', '—', '–'])).map(str::to_owned);
        for word in singles.chain(joined) {
            let Some(fact) = fact(&folded(&word)) else { continue };
            let carries = |field: &&Field| {
                let texts = [field.shown.as_str(), &field.written];
                texts.iter().any(|text| said(text).any(|own| own.starts_with(fact)))
            };
            if !self.fields.iter().any(carries) {
                return Err(Rejection::NotInFields { written: written(&word) });
            }
        }
        let negated = words.iter().find(|word| NEGATIONS.contains(&folded(word).as_str()));
        match negated.filter(|_| self.fields.iter().any(|field| field.path == "/row/state")) {
            Some(word) => Err(Rejection::Unclear { written: written(word) }),
            None => Ok(()),
        }
    }
}

/// The fact that a folded word states.
fn fact(word: &str) -> Option<&'static str> {
    let is_word = |fact: &&str| word == *fact || word.strip_suffix('s') == Some(fact);
    let whole = FACT_WORDS.split_whitespace().find(is_word);
    whole.or_else(|| FACT_BEGINNINGS.split_whitespace().find(|fact| word.starts_with(fact)))
}

/// The words of a text and the pairs of them, folded.
fn said(text: &str) -> impl Iterator<Item = String> {
    let words: Vec<String> = text.split(|c: char| !c.is_alphanumeric()).map(folded).collect();
    let pairs: Vec<String> = words.windows(2).map(|pair| pair.concat()).collect();
    words.into_iter().chain(pairs)
}

fn shortened(text: &str) -> String {
    text.chars().take(60).collect()
}

/// The part of a text that says the same as an excerpt but for case, accents and white space, in whole words and numbers.
fn find<'a>(text: &'a str, excerpt: &str) -> Option<&'a str> {
    let plain = |c: char| {
        c.to_lowercase().next().and_then(fold_letter).unwrap_or(if c.is_whitespace() { ' ' } else { c })
    };
    let wanted: Vec<char> =
        excerpt.split_whitespace().collect::<Vec<_>>().join(" ").chars().map(plain).collect();
    if wanted.is_empty() {
        return None;
    }
    let mut own: Vec<(usize, char)> = text.char_indices().map(|(at, c)| (at, plain(c))).collect();
    own.dedup_by(|next, before| next.1 == ' ' && before.1 == ' ');
    let letter = |at: Option<usize>| at.and_then(|at| own.get(at)).map(|(_, c)| *c);
    // `5` is not in `25`, `1.5`, `-5`, `$5` or `5 %`.
    let joins = |inner: Option<char>, next: Option<char>, beyond: Option<char>| {
        let digit = |c: Option<char>| c.is_some_and(char::is_numeric);
        let both = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
        (both(inner) && both(next))
            || (digit(inner) && next.is_some_and(|c| ".,-/:+".contains(c)) && digit(beyond))
            || (digit(inner) && next.is_some_and(|c| "$€%-+".contains(c)))
            || (digit(inner) && next == Some(' ') && beyond.is_some_and(|c| "$€%".contains(c)))
    };
    let starts = 0..(own.len() + 1).checked_sub(wanted.len())?;
    let start = starts.clone().find(|start| {
        let end = start + wanted.len();
        let is_same = own.get(*start..end).is_some_and(|part| part.iter().map(|(_, c)| c).eq(&wanted));
        let before = |back: usize| letter(start.checked_sub(back));
        is_same
            && !joins(letter(Some(*start)), before(1), before(2))
            && !joins(letter(Some(end - 1)), letter(Some(end)), letter(Some(end + 1)))
    });
    let start = start?;
    let end = own.get(start + wanted.len()).map_or(text.len(), |(at, _)| *at);
    text.get(own.get(start)?.0..end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn excerpts_are_whole_words_and_numbers_in_the_records_own_letters() {
        let text = "Multa  del 1,5 % por\ndía, o $25.000; ñandú -3 y 4x4.";
        for (excerpt, expected) in [
            ("multa del 1,5 %", Some("Multa  del 1,5 %")),
            ("POR DIA", Some("por\ndía")),
            ("$25.000", Some("$25.000")),
            ("Ñandu", Some("ñandú")),
            ("4x4", Some("4x4")),
            ("ult", None),
            ("5 %", None),
            ("1", None),
            ("1,5", None),
            ("25.000", None),
            ("000", None),
            ("3", None),
            ("4", None),
            ("multa de", None),
            (" ", None),
        ] {
            assert_eq!(find(text, excerpt), expected, "{excerpt}");
        }
    }

    #[test]
    fn facts_are_known_by_their_words_and_nothing_else_is() {
        for word in [
            "doce",
            "meses",
            "días",
            "Biobío",
            "adjudicada",
            "privada",
            "ganadora",
            "lunes",
            "UF",
            "veintidós",
        ] {
            assert!(fact(&folded(word)).is_some(), "{word}");
        }
        for word in [
            "docente", "mesa", "anotar", "honda", "dosis", "tendrá", "milagro", "publicar", "opening",
            "wonder", "mayor", "ciencia",
        ] {
            assert_eq!(fact(&folded(word)), None, "{word}");
        }
    }
}
