//! The content of the page.

use super::PdfPage;
use super::canvas::{Canvas, Style};
use super::words::{asked, claims, say, source, verdict};
use crate::procure::analysis::clean::{cut, visible, without_persons};
use crate::procure::analysis::{Analysis, Language, labels};
use crate::procure::{LineItem, Money, Tender, Timestamp};

const FOOTER_HEIGHT: f32 = 58.0;
const GUTTER: f32 = 18.0;
/// The most characters of a cited value.
const MAX_VALUE_CHARS: usize = 90;

pub(super) fn write(tender: &Tender, analysis: Option<&Analysis>, page: &PdfPage) -> Vec<u8> {
    let language = page.language.or(analysis.map(Analysis::language)).unwrap_or_default();
    let mut canvas = Canvas::new(FOOTER_HEIGHT);
    let sheet = Sheet { tender, analysis, page, language };
    sheet.head(&mut canvas);
    sheet.facts(&mut canvas);
    sheet.description(&mut canvas);
    sheet.lines(&mut canvas);
    sheet.analysis(&mut canvas);
    sheet.footer(&mut canvas);
    let title = format!("{} {}", sheet.clean(&tender.row.code), sheet.clean(&tender.row.name));
    canvas.finish(&title, say(language, "es-CL", "en"))
}

struct Sheet<'a> {
    tender: &'a Tender,
    analysis: Option<&'a Analysis>,
    page: &'a PdfPage,
    language: Language,
}

impl Sheet<'_> {
    fn say(&self, spanish: &'static str, english: &'static str) -> &'static str {
        say(self.language, spanish, english)
    }

    /// A text of the record without invisible characters, mail addresses, telephone numbers and names of officials.
    fn clean(&self, text: &str) -> String {
        let names: Vec<&str> = self.tender.contacts().filter_map(|contact| contact.name.as_deref()).collect();
        without_persons(&visible(text.trim(), false), &names)
    }

    fn head(&self, canvas: &mut Canvas) {
        let row = &self.tender.row;
        let above = format!("{} {}", self.say("LICITACIÓN", "TENDER"), self.clean(&row.code));
        canvas.text(&above, Style::STRONG, 0.0, Canvas::width() * 0.7, 1);
        canvas.right(&labels::state(&row.state, self.language), Style::STRONG);
        canvas.gap(4.0);
        canvas.text(&self.clean(&row.name), Style::TITLE, 0.0, Canvas::width(), 3);
        canvas.gap(6.0);
        canvas.rule();
        canvas.gap(4.0);
    }

    fn facts(&self, canvas: &mut Canvas) {
        let facts = self.all_facts();
        let wide = (Canvas::width() - GUTTER) / 2.0;
        for pair in facts.chunks(2) {
            let top = canvas.top();
            let mut lowest = top;
            for (column, (name, value)) in pair.iter().enumerate() {
                canvas.move_to(top);
                let indent = column as f32 * (wide + GUTTER);
                canvas.text(name, Style::SMALL, indent, wide, 1);
                canvas.text(value, Style::BODY, indent, wide, 2);
                lowest = lowest.min(canvas.top());
            }
            canvas.move_to(lowest - 3.0);
        }
        canvas.gap(2.0);
    }

    fn all_facts(&self) -> Vec<(&'static str, String)> {
        let tender = self.tender;
        let moment = |moment: Option<Timestamp>| moment.map(Timestamp::chilean);
        let buyer = tender.buyer.as_ref();
        let awarded = tender.award.as_ref().and_then(|award| award.date).or(tender.dates.awarded);
        let facts = [
            (self.say("Cierre de ofertas", "Offers close"), moment(tender.row.closes)),
            (self.say("Monto estimado", "Estimated amount"), self.amount()),
            (self.say("Comprador", "Buyer"), buyer.map(|buyer| self.clean(&buyer.name))),
            ("RUT", buyer.and_then(|buyer| buyer.tax_number.clone())),
            (self.say("Unidad", "Unit"), buyer.and_then(|buyer| buyer.unit_name.clone())),
            (self.say("Región", "Region"), buyer.and_then(|buyer| buyer.region.clone())),
            (self.say("Publicación", "Published"), moment(tender.published)),
            (self.say("Preguntas hasta", "Questions until"), moment(tender.dates.questions_until)),
            (self.say("Visita a terreno", "Site visit"), moment(tender.dates.site_visit)),
            (
                self.say("Adjudicación estimada", "Expected award"),
                moment(tender.dates.expected_award.filter(|_| awarded.is_none())),
            ),
            (self.say("Adjudicación", "Awarded"), moment(awarded)),
            (self.say("Adjudicatarios", "Winners"), self.winners()),
            (
                self.say("Monto adjudicado", "Awarded amount"),
                tender.awarded_total().as_ref().map(Money::chilean),
            ),
            (self.say("Oferentes", "Bidders"), tender.bidder_count().map(|bidders| bidders.to_string())),
        ];
        facts.into_iter().filter_map(|(name, value)| Some((name, visible(value?.trim(), false)))).collect()
    }

    fn winners(&self) -> Option<String> {
        let names: Vec<&str> = self.tender.winners().into_iter().map(|winner| winner.name.as_str()).collect();
        (!names.is_empty()).then(|| self.clean(&names.join(", ")))
    }

    fn amount(&self) -> Option<String> {
        let amount = self.tender.estimated_amount.as_ref().map(Money::chilean)?;
        Some(match &self.tender.estimation {
            Some(estimation) if self.language == Language::Spanish => {
                format!("{amount} ({})", labels::estimation(estimation))
            }
            _ => amount,
        })
    }

    fn heading(&self, canvas: &mut Canvas, text: &str) {
        canvas.gap(5.0);
        canvas.text(text, Style::HEADING, 0.0, Canvas::width(), 1);
        canvas.gap(2.0);
    }

    fn description(&self, canvas: &mut Canvas) {
        let text = self.clean(&self.tender.description);
        if text.is_empty() {
            return;
        }
        self.heading(canvas, self.say("Descripción", "Description"));
        let most = if self.analysis.is_some() { 8 } else { 30 };
        canvas.text(&text, Style::BODY, 0.0, Canvas::width(), most);
    }

    fn lines(&self, canvas: &mut Canvas) {
        let items = &self.tender.items;
        if items.is_empty() {
            return;
        }
        let most = if self.analysis.is_some() { 5 } else { 12 };
        self.heading(canvas, &format!("{} ({})", self.say("Líneas", "Lines"), items.len()));
        for (at, item) in items.iter().take(most).enumerate() {
            canvas.text(&self.line(at, item), Style::BODY, 0.0, Canvas::width(), 1);
        }
        if let Some(more) = items.len().checked_sub(most).filter(|more| *more > 0) {
            let text = format!("[…] {more} {}", self.say("más", "more"));
            canvas.text(&text, Style::SMALL, 0.0, Canvas::width(), 1);
        }
    }

    fn line(&self, at: usize, item: &LineItem) -> String {
        let number = item.number.unwrap_or(i64::try_from(at + 1).unwrap_or_default());
        let mut line = format!("{number}. {}", self.clean(&item.name));
        if let Some(quantity) = item.quantity {
            let unit = item.unit.as_deref().unwrap_or_default();
            line.push_str(&format!(
                " — {} {}",
                quantity.without_trailing_zeros().chilean(),
                self.clean(unit)
            ));
        }
        if let Some(award) = &item.award {
            line.push_str(&format!(" — {}", self.clean(&award.supplier.name)));
            if let Some(price) = &award.unit_price {
                line.push_str(&format!(": {} c/u", price.chilean()));
            }
        }
        line
    }

    fn analysis(&self, canvas: &mut Canvas) {
        let Some(analysis) = self.analysis else { return };
        canvas.gap(5.0);
        canvas.rule();
        let question = visible(&asked(&analysis.question.ask, self.language), false);
        self.heading(canvas, &format!("{}: {question}", self.say("Análisis", "Analysis")));
        if let Some(advice) = analysis.verdict {
            canvas.text(verdict(advice, self.language), Style::STRONG, 0.0, Canvas::width(), 1);
        }
        let mut written = 0;
        for claim in &analysis.claims {
            // Room for a claim, its fields, and the notes after the last one.
            if canvas.lines_left(Style::BODY) < 6 {
                break;
            }
            canvas.text("•", Style::BODY, 0.0, 10.0, 1);
            canvas.gap(-Style::BODY.leading());
            let mark =
                if claim.opinion { self.say("[Opinión del modelo] ", "[The model's opinion] ") } else { "" };
            let text = format!("{mark}{}", visible(&claim.text, false));
            canvas.text(&text, Style::BODY, 10.0, Canvas::width() - 10.0, 3);
            let fields = claim.citations.iter().map(|citation| {
                let (value, missing) = cut(&visible(&citation.value, false), MAX_VALUE_CHARS);
                format!("{} = {value}{}", citation.path, if missing > 0 { " […]" } else { "" })
            });
            let fields = fields.collect::<Vec<_>>().join(" · ");
            canvas.text(&fields, Style::SMALL, 10.0, Canvas::width() - 10.0, 2);
            canvas.gap(2.0);
            written += 1;
        }
        self.notes(canvas, analysis, written);
    }

    fn notes(&self, canvas: &mut Canvas, analysis: &Analysis, written: usize) {
        let mut notes = Vec::new();
        let more = analysis.claims.len() - written;
        if more > 0 {
            let text = self.say("no caben en esta página", "do not fit on this page");
            notes.push(format!("[…] {} {text}.", claims(more, self.language)));
        }
        let rejected = analysis.rejected.len();
        if rejected > 0 {
            let text = self.say(
                "Sin respaldo en el registro y fuera de esta página",
                "Not borne out by the record and left out",
            );
            notes.push(format!("{text}: {}.", claims(rejected, self.language)));
        }
        if analysis.claims.is_empty() {
            notes.push(
                self.say(
                    "Ninguna afirmación con respaldo en el registro.",
                    "No claim that the record bears out.",
                )
                .to_owned(),
            );
        }
        for note in notes {
            canvas.text(&note, Style::SMALL, 0.0, Canvas::width(), 1);
        }
    }

    fn footer(&self, canvas: &mut Canvas) {
        canvas.footer();
        canvas.rule();
        canvas.gap(3.0);
        let own = self.tender.row.parsed_code().ok().map(|code| code.public_page());
        if let Some(link) = self.page.link.clone().or(own) {
            canvas.link(&link, Style::LINK);
        }
        let origin = &self.tender.row.origin;
        let stale = if origin.stale { self.say(" (desactualizado)", " (out of date)") } else { "" };
        let from = format!(
            "{}: {}, {} {}{stale}.",
            self.say("Fuente", "Source"),
            source(&origin.source),
            self.say("al", "as of"),
            origin.as_of.chilean()
        );
        canvas.text(&from, Style::SMALL, 0.0, Canvas::width(), 1);
        if let Some(analysis) = self.analysis {
            let checked = self.say(
                "Los valores son los de los campos citados; lo demás lo redactó el modelo. No reemplaza las bases.",
                "The values are those of the fields cited; the rest is the model's wording. It does not replace the \
                 terms of the tender.",
            );
            let by = format!(
                "{} {} ({}). {checked}",
                self.say("Análisis:", "Analysis:"),
                analysis.route.model,
                analysis.asked.chilean()
            );
            canvas.text(&visible(&by, false), Style::SMALL, 0.0, Canvas::width(), 2);
        }
        if let Some(name) = &self.page.made_by {
            canvas.text(&visible(name, false), Style::SMALL, 0.0, Canvas::width(), 1);
        }
    }
}
