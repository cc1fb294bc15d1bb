//! Pages of the documentation with a section for each CPU.

use std::fs;
use std::io::ErrorKind;

/// Writes a page: its beginning, and the section of this CPU in place of its last one. Those of other CPUs stay as they are.
pub(crate) fn write(path: &str, beginning: &str, cpu: &str, section: &str) -> std::io::Result<()> {
    let page = match fs::read_to_string(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
        page => page?,
    };
    fs::write(path, replaced(&page, beginning, cpu, section))
}

/// The page with another beginning, and another section of this CPU; a new one is the last.
fn replaced(page: &str, beginning: &str, cpu: &str, section: &str) -> String {
    let heading = format!("## {cpu}\n");
    let mut sections: Vec<String> = Vec::new();
    for line in page.split_inclusive('\n') {
        if line.starts_with("## ") {
            sections.push(line.to_owned());
        } else if let Some(section) = sections.last_mut() {
            section.push_str(line);
        }
    }
    let new = format!("{heading}\n{}\n", section.trim());
    match sections.iter_mut().find(|section| section.starts_with(&heading)) {
        Some(old) => *old = new,
        None => sections.push(new),
    }
    let sections = sections.iter().map(|section| section.trim_end());
    let parts: Vec<&str> = std::iter::once(beginning.trim()).chain(sections).collect();
    parts.join("\n\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_section_of_this_cpu_is_replaced() {
        let first = replaced("", "# Speed\n\nHow to read it.\n", "One", "2026-01-01.\n\n### gemm\n\n| 1 |\n");
        assert_eq!(first, "# Speed\n\nHow to read it.\n\n## One\n\n2026-01-01.\n\n### gemm\n\n| 1 |\n");
        let both = replaced(&first, "# Speed\n\nRead it so.", "One more", "2026-01-02.");
        assert_eq!(
            both,
            "# Speed\n\nRead it so.\n\n## One\n\n2026-01-01.\n\n### gemm\n\n| 1 |\n\n## One more\n\n2026-01-02.\n"
        );
        let again = replaced(&both, "# Speed", "One", "2026-01-03.");
        assert_eq!(again, "# Speed\n\n## One\n\n2026-01-03.\n\n## One more\n\n2026-01-02.\n");
        assert_eq!(replaced(&again, "# Speed", "One", "2026-01-03."), again);
    }
}
