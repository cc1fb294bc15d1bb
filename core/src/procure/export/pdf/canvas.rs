//! A page that is filled from top to bottom.

use pdf_writer::types::{ActionType, AnnotationType};
use pdf_writer::{Content, Finish, Name, Pdf, Rect, Ref, Str, TextStr};

use super::text::{Font, cut, lines, width};

/// A4, in points.
const PAGE_SIZE: (f32, f32) = (595.28, 841.89);
const MARGIN: f32 = 48.0;

const CATALOG: Ref = Ref::new(1);
const PAGES: Ref = Ref::new(2);
const PAGE_OBJECT: Ref = Ref::new(3);
const REGULAR: Ref = Ref::new(4);
const BOLD: Ref = Ref::new(5);
const CONTENT: Ref = Ref::new(6);
const INFORMATION: Ref = Ref::new(7);
const LINK: Ref = Ref::new(8);

#[derive(Clone, Copy, Debug)]
pub(super) struct Style {
    pub(super) font: Font,
    pub(super) size: f32,
    /// Red, green, blue, each from 0 to 1.
    pub(super) ink: [f32; 3],
}

impl Style {
    pub(super) const TITLE: Self = Self { font: Font::Bold, size: 16.0, ink: [0.0; 3] };
    pub(super) const HEADING: Self = Self { font: Font::Bold, size: 10.5, ink: [0.1; 3] };
    pub(super) const BODY: Self = Self { font: Font::Regular, size: 9.0, ink: [0.1; 3] };
    pub(super) const STRONG: Self = Self { font: Font::Bold, size: 9.0, ink: [0.0; 3] };
    pub(super) const SMALL: Self = Self { font: Font::Regular, size: 7.0, ink: [0.4; 3] };

    pub(super) const LINK: Self = Self { font: Font::Regular, size: 7.0, ink: [0.0, 0.2, 0.6] };

    pub(super) fn leading(self) -> f32 {
        self.size * 1.28
    }
}

pub(super) struct Canvas {
    content: Content,
    /// The top of the next line, from the bottom of the page.
    top: f32,
    /// The top of the footer.
    floor: f32,
    link: Option<(Rect, String)>,
}

impl Canvas {
    /// An empty page with a footer of `footer` points.
    pub(super) fn new(footer: f32) -> Self {
        Self { content: Content::new(), top: PAGE_SIZE.1 - MARGIN, floor: MARGIN + footer, link: None }
    }

    pub(super) fn width() -> f32 {
        PAGE_SIZE.0 - 2.0 * MARGIN
    }

    pub(super) fn top(&self) -> f32 {
        self.top
    }

    pub(super) fn move_to(&mut self, top: f32) {
        self.top = top;
    }

    pub(super) fn gap(&mut self, points: f32) {
        self.top -= points;
    }

    /// The number of lines of a style that still fit.
    pub(super) fn lines_left(&self, style: Style) -> usize {
        let lines = ((self.top - self.floor) / style.leading()).floor();
        if lines > 0.0 { lines as usize } else { 0 }
    }

    /// Writes at most `max_lines` lines of a text, indented, and returns how many it took.
    pub(super) fn text(
        &mut self,
        text: &str,
        style: Style,
        indent: f32,
        max_width: f32,
        max_lines: usize,
    ) -> usize {
        let set = lines(text, style.font, style.size, max_width);
        let set = cut(set, max_lines.min(self.lines_left(style)), style.font, style.size, max_width);
        for line in &set {
            self.top -= style.leading();
            self.line(line, style, MARGIN + indent, self.top + style.size * 0.28);
        }
        set.len()
    }

    pub(super) fn right(&mut self, text: &str, style: Style) {
        let bytes = super::text::encoded(text);
        let x = PAGE_SIZE.0 - MARGIN - width(&bytes, style.font, style.size);
        self.line(&bytes, style, x, self.top + style.size * 0.28);
    }

    fn line(&mut self, bytes: &[u8], style: Style, x: f32, y: f32) {
        let name = match style.font {
            Font::Regular => Name(b"F1"),
            Font::Bold => Name(b"F2"),
        };
        self.content.begin_text();
        let [red, green, blue] = style.ink;
        self.content.set_fill_rgb(red, green, blue);
        self.content.set_font(name, style.size);
        self.content.next_line(x, y);
        self.content.show(Str(bytes));
        self.content.end_text();
    }

    pub(super) fn rule(&mut self) {
        self.content.set_stroke_gray(0.75).set_line_width(0.5);
        self.content.move_to(MARGIN, self.top).line_to(PAGE_SIZE.0 - MARGIN, self.top).stroke();
    }

    pub(super) fn footer(&mut self) {
        self.top = self.floor;
        self.floor = MARGIN - 24.0;
    }

    pub(super) fn link(&mut self, link: &str, style: Style) {
        let before = self.top;
        if self.text(link, style, 0.0, Self::width(), 1) > 0 {
            let bytes = super::text::encoded(link);
            let end = MARGIN + width(&bytes, style.font, style.size).min(Self::width());
            self.link = Some((Rect::new(MARGIN, self.top, end, before), link.to_owned()));
        }
    }

    /// The bytes of the file.
    pub(super) fn finish(self, title: &str, language: &str) -> Vec<u8> {
        let mut pdf = Pdf::new();
        pdf.catalog(CATALOG).pages(PAGES).lang(TextStr(language));
        pdf.pages(PAGES).kids([PAGE_OBJECT]).count(1);
        let mut page = pdf.page(PAGE_OBJECT);
        page.media_box(Rect::new(0.0, 0.0, PAGE_SIZE.0, PAGE_SIZE.1)).parent(PAGES).contents(CONTENT);
        if self.link.is_some() {
            page.annotations([LINK]);
        }
        page.resources().fonts().pair(Name(b"F1"), REGULAR).pair(Name(b"F2"), BOLD);
        page.finish();
        for (font, name) in [(REGULAR, &b"Helvetica"[..]), (BOLD, b"Helvetica-Bold")] {
            pdf.type1_font(font).base_font(Name(name)).encoding_predefined(Name(b"WinAnsiEncoding"));
        }
        if let Some((place, link)) = &self.link {
            let mut annotation = pdf.annotation(LINK);
            annotation.subtype(AnnotationType::Link).rect(*place).border(0.0, 0.0, 0.0, None);
            annotation.action().action_type(ActionType::Uri).uri(Str(link.as_bytes()));
            annotation.finish();
        }
        pdf.stream(CONTENT, &self.content.finish());
        pdf.document_info(INFORMATION).title(TextStr(title)).creator(TextStr("ayni"));
        pdf.finish()
    }
}
