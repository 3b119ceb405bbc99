//! What one file says: its modules, its re-exports, and the paths that it names.

use std::collections::BTreeMap;

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};
use syn::{Attribute, File, Item, ItemUse, Macro, Meta, UseTree, Visibility};

/// A path as it is written: `crate::config::Limits`.
pub(super) type Path = Vec<String>;

/// What is looked at of a file.
#[derive(Debug, Default)]
pub(super) struct Source {
    /// Modules in files of their own.
    pub(super) modules: Vec<String>,
    /// Names that `use` makes known, and what they stand for.
    pub(super) names: BTreeMap<String, Path>,
    /// What `use` takes all of.
    pub(super) globs: Vec<Path>,
    /// Of these names, those that others may take from here.
    pub(super) shown: Vec<String>,
    /// Paths of two segments and more.
    pub(super) paths: Vec<Path>,
}

impl Source {
    /// Of a file that compiles. Tests are left out.
    ///
    /// # Errors
    /// It is no Rust.
    pub(super) fn parse(text: &str) -> syn::Result<Self> {
        let mut source = Self::default();
        source.visit_file(&syn::parse_file(text)?);
        Ok(source)
    }

    fn add_use(&mut self, tree: &UseTree, before: &[String], is_shown: bool) {
        let joined = |name: String| [before, &[name]].concat();
        match tree {
            UseTree::Path(path) => self.add_use(&path.tree, &joined(path.ident.to_string()), is_shown),
            UseTree::Name(name) if name.ident == "self" => {
                if let Some(last) = before.last() {
                    self.add_name(last.clone(), before.to_vec(), is_shown);
                }
            }
            UseTree::Name(name) => {
                let name = name.ident.to_string();
                self.add_name(name.clone(), joined(name), is_shown);
            }
            UseTree::Rename(renamed) => {
                self.add_name(renamed.rename.to_string(), joined(renamed.ident.to_string()), is_shown);
            }
            UseTree::Glob(_) => self.globs.push(before.to_vec()),
            UseTree::Group(group) => {
                group.items.iter().for_each(|item| self.add_use(item, before, is_shown));
            }
        }
    }

    fn add_name(&mut self, name: String, path: Path, is_shown: bool) {
        if is_shown {
            self.shown.push(name.clone());
        }
        self.names.insert(name, path);
    }

    /// A macro's arguments are no syntax: what looks like a path in them is one.
    fn add_tokens(&mut self, tokens: TokenStream) {
        let mut path: Path = Vec::new();
        let mut colons = 0;
        for token in tokens {
            match token {
                TokenTree::Ident(ident) => {
                    if colons != 2 {
                        self.add_path(std::mem::take(&mut path));
                    }
                    path.push(ident.to_string());
                    colons = 0;
                }
                TokenTree::Punct(punct) if punct.as_char() == ':' && !path.is_empty() => colons += 1,
                TokenTree::Group(group) => {
                    self.add_path(std::mem::take(&mut path));
                    self.add_tokens(group.stream());
                }
                TokenTree::Punct(_) | TokenTree::Literal(_) => {
                    self.add_path(std::mem::take(&mut path));
                    colons = 0;
                }
            }
        }
        self.add_path(path);
    }

    fn add_path(&mut self, path: Path) {
        if path.len() > 1 {
            self.paths.push(path);
        }
    }
}

impl<'ast> Visit<'ast> for Source {
    fn visit_file(&mut self, file: &'ast File) {
        visit::visit_file(self, file);
    }

    fn visit_item(&mut self, item: &'ast Item) {
        let attributes = match item {
            Item::Const(item) => &item.attrs,
            Item::Enum(item) => &item.attrs,
            Item::Fn(item) => &item.attrs,
            Item::Impl(item) => &item.attrs,
            Item::Macro(item) => &item.attrs,
            Item::Mod(item) => &item.attrs,
            Item::Static(item) => &item.attrs,
            Item::Struct(item) => &item.attrs,
            Item::Trait(item) => &item.attrs,
            Item::Type(item) => &item.attrs,
            Item::Use(item) => &item.attrs,
            _ => return visit::visit_item(self, item),
        };
        if attributes.iter().any(is_for_tests) {
            return;
        }
        if let Item::Mod(module) = item
            && module.content.is_none()
        {
            self.modules.push(module.ident.to_string());
        }
        visit::visit_item(self, item);
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        self.add_use(&item.tree, &[], !matches!(item.vis, Visibility::Inherited));
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        if !item.attrs.iter().any(is_for_tests) {
            visit::visit_impl_item_fn(self, item);
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        self.add_path(path.segments.iter().map(|segment| segment.ident.to_string()).collect());
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, called: &'ast Macro) {
        self.add_tokens(called.tokens.clone());
        visit::visit_macro(self, called);
    }
}

/// `#[cfg(test)]`, alone or among others that are all wanted.
fn is_for_tests(attribute: &Attribute) -> bool {
    let Meta::List(list) = &attribute.meta else { return false };
    let condition = list.tokens.to_string();
    list.path.is_ident("cfg") && (condition == "test" || condition.starts_with("all (test"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_file_names() {
        let source = Source::parse(
            "use crate::a::{self, B, c::D as E, f::*};
             pub(crate) use self::g::H;
             mod g;
             #[cfg(test)] mod tests { use super::X; }
             #[cfg(test)] use crate::only_in_tests;
             fn f(x: crate::i::J) { k!(\"{}\", l::m(n::O { p: crate::q::R })); }",
        )
        .unwrap();
        let text = |path: &Path| path.join("::");
        let names: Vec<String> = source.names.iter().map(|(n, path)| format!("{n}={}", text(path))).collect();
        assert_eq!(names, ["B=crate::a::B", "E=crate::a::c::D", "H=self::g::H", "a=crate::a"]);
        assert_eq!(source.globs.iter().map(text).collect::<Vec<_>>(), ["crate::a::f"]);
        assert_eq!((source.shown, source.modules), (vec!["H".to_owned()], vec!["g".to_owned()]));
        assert_eq!(
            source.paths.iter().map(text).collect::<Vec<_>>(),
            ["crate::i::J", "l::m", "n::O", "crate::q::R"]
        );
    }
}
