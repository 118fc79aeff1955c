//! A document of text, tables and pictures, as Markdown and as one self-contained page.

use super::page::{self, escape, image};
use crate::error::Result;
use crate::io::atomic;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// A document.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Document {
    /// The heading.
    pub title: String,
    /// The blocks in front of the first section.
    pub opening: Vec<Block>,
    /// The sections, in their order.
    pub sections: Vec<Section>,
}

/// A part of a document under a heading.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Section {
    /// The heading.
    pub title: String,
    /// The contents.
    pub blocks: Vec<Block>,
}

/// A part of a section.
#[derive(Debug, Clone, PartialEq)]
pub enum Block {
    /// A paragraph.
    Text(String),
    /// A table. Cells of columns after the first are aligned to the right.
    Table {
        /// The text above the table; may be empty.
        caption: String,
        /// The names of the columns.
        head: Vec<String>,
        /// The rows, each with a cell for every column.
        rows: Vec<Vec<String>>,
    },
    /// A picture: a file in the document's directory.
    Picture {
        /// The name of the file.
        file: PathBuf,
        /// The text under the picture.
        caption: String,
    },
}

impl Document {
    /// Writes the document as `NAME.md` and `NAME.html` into `directory`, which has its pictures.
    ///
    /// # Errors
    /// [`crate::Error::Io`] if a picture cannot be read or a file not be written.
    pub fn write(&self, directory: &Path, name: &str) -> Result<[PathBuf; 2]> {
        let page = self.html(directory)?;
        let files = ["md", "html"].map(|ending| directory.join(format!("{name}.{ending}")));
        for (file, text) in files.iter().zip([self.markdown(), page]) {
            atomic::write(file, |file| file.write_all(text.as_bytes()))?;
        }
        Ok(files)
    }

    /// The document as Markdown, with pictures as links.
    pub fn markdown(&self) -> String {
        let mut text = format!("# {}\n", self.title);
        self.opening.iter().for_each(|block| text += &block.markdown());
        for section in &self.sections {
            let _ = write!(text, "\n## {}\n", section.title);
            section.blocks.iter().for_each(|block| text += &block.markdown());
        }
        text
    }

    /// The document as a page that needs no other file. Pictures are read from `directory`.
    ///
    /// # Errors
    /// [`crate::Error::Io`] if a picture cannot be read.
    pub fn html(&self, directory: &Path) -> Result<String> {
        let mut page = page::head(&self.title);
        for block in &self.opening {
            page += &block.html(directory)?;
        }
        for section in &self.sections {
            let _ = writeln!(page, "<h2>{}</h2>", escape(&section.title));
            for block in &section.blocks {
                page += &block.html(directory)?;
            }
        }
        Ok(page + page::END)
    }
}

impl Block {
    fn markdown(&self) -> String {
        match self {
            Self::Text(text) => format!("\n{text}\n"),
            Self::Picture { file, caption } => format!("\n![{caption}]({})\n", file.display()),
            Self::Table { caption, head, rows } => {
                let line = |cells: &[String]| {
                    let cells: Vec<String> = cells.iter().map(|cell| cell.replace('|', "\\|")).collect();
                    format!("| {} |\n", cells.join(" | "))
                };
                let rule: String = (0..head.len()).map(|i| if i == 0 { "---|" } else { "---:|" }).collect();
                let caption = if caption.is_empty() { String::new() } else { format!("\n{caption}\n") };
                let rows: String = rows.iter().map(|row| line(row)).collect();
                format!("{caption}\n{}|{rule}\n{rows}", line(head))
            }
        }
    }

    fn html(&self, directory: &Path) -> Result<String> {
        Ok(match self {
            Self::Text(text) => format!("<p>{}</p>\n", escape(text)),
            Self::Picture { file, caption } => {
                let picture = image(&directory.join(file), caption)?;
                format!("<p>{picture}<br><span class=\"state\">{}</span></p>\n", escape(caption))
            }
            Self::Table { caption, head, rows } => {
                let class = |i: usize| if i == 0 { "" } else { " class=\"number\"" };
                let line = |tag: &str, cells: &[String]| {
                    let cells = cells.iter().enumerate();
                    let cells: String = cells
                        .map(|(i, cell)| format!("<{tag}{}>{}</{tag}>", class(i), escape(cell)))
                        .collect();
                    format!("<tr>{cells}</tr>\n")
                };
                let rows: String = rows.iter().map(|row| line("td", row)).collect();
                let caption =
                    if caption.is_empty() { String::new() } else { format!("<p>{}</p>\n", escape(caption)) };
                format!("{caption}<table>\n{}{rows}</table>\n", line("th", head))
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::png;

    #[test]
    fn a_document_is_markdown_and_one_page() {
        let directory = tempfile::tempdir().unwrap();
        png::write_grid(&directory.path().join("a.png"), &[0.0; 4], 1, 2, 2, 1, 1, 1).unwrap();
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let table = Block::Table {
            caption: "Figures".into(),
            head: words("figure a|b"),
            rows: vec![words("x <1"), words("y 2")],
        };
        let picture = Block::Picture { file: "a.png".into(), caption: "A picture".into() };
        let document = Document {
            title: "A & B".into(),
            opening: vec![Block::Text("On a < b.".into())],
            sections: vec![Section { title: "One".into(), blocks: vec![table, picture] }],
        };
        let [markdown, page] = document
            .write(directory.path(), "eval")
            .unwrap()
            .map(|path| std::fs::read_to_string(path).unwrap());
        assert_eq!(
            markdown,
            "# A & B\n\nOn a < b.\n\n## One\n\nFigures\n\n| figure | a\\|b |\n|---|---:|\n| x | <1 |\n| y | 2 |\n\n\
             ![A picture](a.png)\n"
        );
        for part in
            ["<h1>A &amp; B</h1>", "<p>On a &lt; b.</p>", "<h2>One</h2>", "<td class=\"number\">&lt;1</td>"]
        {
            assert!(page.contains(part), "{part} is not in {page}");
        }
        assert_eq!(page.matches("data:image/png;base64,").count(), 1);
        assert!(page.ends_with("</body></html>\n"));
        std::fs::remove_file(directory.path().join("a.png")).unwrap();
        assert!(document.write(directory.path(), "eval").unwrap_err().to_string().contains("a.png"));
    }
}
