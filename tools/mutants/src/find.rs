//! The mutants of one file: which operators there are, and where they do not apply.

use std::collections::HashMap;
use std::ops::Range;

use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{
    Arm, Attribute, BinOp, Block, Expr, ExprBinary, ExprIf, ExprLit, ExprMatch, ExprRange, ExprUnary,
    ExprWhile, ImplItemFn, ItemFn, ItemImpl, ItemMod, ItemTrait, Lit, Pat, Signature, Stmt, TraitItemFn,
    UnOp,
};

use crate::edit::{Alternative, Edit, Shape};
use crate::mutant::{Mutant, Names, brief, line};
use crate::operators::{neighbour, others};
use crate::values;

/// A file, its mutants and where they are written.
#[derive(Debug)]
pub struct Found {
    pub edits: Vec<Edit>,
    pub mutants: Vec<Mutant>,
    /// Modules without a body that are only compiled for tests.
    pub test_modules: Vec<String>,
}

/// Finds the mutants of a file; `file` is its path below the root.
pub fn find(file: &str, source: &str) -> syn::Result<Found> {
    let tree = syn::parse_file(source)?;
    let mut finder = Finder {
        file,
        source,
        path: Vec::new(),
        names: Names::default(),
        places: HashMap::new(),
        found: Found { edits: Vec::new(), mutants: Vec::new(), test_modules: Vec::new() },
    };
    finder.visit_file(&tree);
    Ok(finder.found)
}

struct Finder<'s> {
    file: &'s str,
    source: &'s str,
    /// Modules, types and functions around the visited node.
    path: Vec<String>,
    names: Names,
    /// The index of the edit at a place.
    places: HashMap<(usize, usize, Shape), usize>,
    found: Found,
}

impl Finder<'_> {
    fn text(&self, node: &impl Spanned) -> &str {
        self.source.get(node.span().byte_range()).unwrap_or_default()
    }

    /// Adds a mutant that has `text` in place of `range`; a reader is shown `shown` there.
    fn add(&mut self, shape: Shape, range: Range<usize>, text: String, shown: &str, change: String) {
        let own = self.source[range.clone()].to_owned();
        let index = *self.places.entry((range.start, range.end, shape)).or_insert_with(|| {
            self.found.edits.push(Edit { range: range.clone(), shape, alternatives: Vec::new() });
            self.found.edits.len() - 1
        });
        let edit = &mut self.found.edits[index];
        if edit.alternatives.iter().any(|known| known.text == text) || (text == own && !text.is_empty()) {
            return;
        }
        edit.alternatives.push(Alternative { mutant: self.found.mutants.len(), text: text.clone() });
        let start = self.source[..range.start].rfind('\n').map_or(0, |at| at + 1);
        let end = self.source[range.end..].find('\n').map_or(self.source.len(), |at| range.end + at);
        let before = line(&self.source[start..end]);
        let changed = match shape {
            Shape::Arm | Shape::Guard => "(without this arm)".to_owned(),
            Shape::Body => format!("return {shown};"),
            _ if text.is_empty() => "(deleted)".to_owned(),
            _ => {
                line(&format!("{}{shown}{}", &self.source[start..range.start], &self.source[range.end..end]))
            }
        };
        let function = self.path.join("::");
        let id = self.names.name(self.file, &function, &change);
        self.found.mutants.push(Mutant {
            number: 0,
            file: self.file.to_owned(),
            line: self.source[..range.start].matches('\n').count() + 1,
            function,
            change,
            before,
            after: changed,
            id,
        });
    }

    /// Puts another expression in the place of `node`.
    fn replace(&mut self, node: &impl Spanned, text: String) {
        let range = node.span().byte_range();
        let change = format!("replace `{}` with `{}`", brief(&self.source[range.clone()]), brief(&text));
        self.add(Shape::Expression, range, format!("({text})"), &text, change);
    }

    fn condition(&mut self, condition: &Expr, values: &[&str]) {
        if !has_let(condition) {
            for value in values {
                self.replace(condition, (*value).to_owned());
            }
        }
    }

    fn function(&mut self, signature: &Signature, block: &Block) {
        let name = signature.ident.to_string();
        self.path.push(name.clone());
        let range = block.span().byte_range();
        self.found.edits.push(Edit {
            range: range.clone(),
            shape: Shape::Function,
            alternatives: Vec::new(),
        });
        let body = match block.stmts.as_slice() {
            [Stmt::Expr(only, None)] => self.text(only).to_owned(),
            _ => String::new(),
        };
        if !block.stmts.is_empty() && name != "default" {
            for value in values::returned(&signature.output) {
                if value != body || value.is_empty() {
                    let shown = if value.is_empty() { "()" } else { &value };
                    let shown = shown.replace("::core::default::", "").replace("::core::task::", "");
                    let change = format!("return `{shown}` at once");
                    self.add(Shape::Body, range.start + 1..range.start + 1, value, &shown, change);
                }
            }
        }
        self.visit_block(block);
        self.path.pop();
    }

    /// Statements that can be left out, and assignments that can be others.
    fn statement(&mut self, statement: &Stmt, expression: &Expr) {
        let range = statement.span().byte_range();
        let text = brief(&self.source[range.clone()]);
        if let Expr::Binary(binary) = expression {
            self.assignment(binary, &range);
        }
        if can_be_left_out(expression) {
            self.add(Shape::Statement, range, String::new(), "", format!("delete `{text}`"));
        }
    }

    fn assignment(&mut self, binary: &ExprBinary, statement: &Range<usize>) {
        if !is_assignment(&binary.op) {
            return;
        }
        for other in others(&binary.op) {
            let (left, right) = (self.text(&binary.left), self.text(&binary.right));
            let text = format!("{left} {other} {right};");
            let change =
                format!("replace `{}` with `{}`", brief(&self.source[statement.clone()]), brief(&text));
            self.add(Shape::Statement, statement.clone(), text.clone(), &text, change);
        }
    }

    /// Drops each operand of a condition, or of the part of a chain with `let` that is none.
    fn logic(&mut self, binary: &ExprBinary) {
        if has_let(&binary.left) || has_let(&binary.right) {
            for operand in [&binary.left, &binary.right] {
                let chain = matches!(&**operand, Expr::Binary(inner) if matches!(inner.op, BinOp::And(_)));
                if !has_let(operand) && !chain {
                    self.replace(operand, "true".to_owned());
                }
            }
            return;
        }
        let (left, right) = (self.text(&binary.left).to_owned(), self.text(&binary.right).to_owned());
        for other in others(&binary.op) {
            self.swap(binary, other);
        }
        self.replace(binary, left);
        self.replace(binary, right);
    }

    fn swap(&mut self, binary: &ExprBinary, other: &str) {
        let (left, right) = (self.text(&binary.left), self.text(&binary.right));
        let change = format!(
            "replace `{}` with `{other}` in `{}`",
            self.text(&binary.op),
            brief(&format!("{left} {} {right}", self.text(&binary.op)))
        );
        // The parentheses are for the compiler: the reader sees the operator.
        let (text, shown) = (format!("(({left}) {other} ({right}))"), format!("{left} {other} {right}"));
        self.add(Shape::Expression, binary.span().byte_range(), text, &shown, change);
    }

    /// A number beside the one that is compared with, where that is not the same as another comparison.
    fn bound(&mut self, literal: &Expr, up: bool, inside: &impl Spanned) {
        if let Expr::Lit(ExprLit { lit: Lit::Int(number), .. }) = literal
            && let Some(other) = neighbour(number, up)
        {
            let (own, inside) = (self.text(literal), brief(self.text(inside)));
            let change = format!("replace `{own}` with `{other}` in `{inside}`");
            self.add(Shape::Expression, literal.span().byte_range(), other.clone(), &other, change);
        }
    }

    fn arms(&mut self, expression: &ExprMatch) {
        let Some((last, rest)) = expression.arms.split_last() else {
            return;
        };
        // A name in small letters takes everything; `None` does not.
        let takes_all = match &last.pat {
            Pat::Wild(_) => true,
            Pat::Ident(name) => {
                name.subpat.is_none() && name.ident.to_string().starts_with(char::is_lowercase)
            }
            _ => false,
        };
        if !takes_all || last.guard.is_some() {
            return;
        }
        for arm in rest.iter().filter(|arm| !is_left_out(&arm.attrs)) {
            let change = format!("delete the arm `{}`", brief(self.text(&arm.pat)));
            match &arm.guard {
                None => {
                    let end = arm.pat.span().byte_range().end;
                    self.add(Shape::Arm, end..end, String::new(), "", change);
                }
                Some((_, guard)) if !has_let(guard) => {
                    self.add(Shape::Guard, guard.span().byte_range(), String::new(), "", change);
                }
                Some(_) => {}
            }
        }
    }

    fn inside(&mut self, name: String, visit: impl FnOnce(&mut Self)) {
        self.path.push(name);
        visit(self);
        self.path.pop();
    }
}

impl<'ast> Visit<'ast> for Finder<'_> {
    fn visit_item_mod(&mut self, item: &'ast ItemMod) {
        if is_left_out(&item.attrs) {
            if item.content.is_none() && !item.attrs.iter().any(is_about_features) {
                self.found.test_modules.push(item.ident.to_string());
            }
            return;
        }
        self.inside(item.ident.to_string(), |finder| visit::visit_item_mod(finder, item));
    }

    fn visit_item_fn(&mut self, item: &'ast ItemFn) {
        if !is_left_out(&item.attrs) && item.sig.constness.is_none() {
            self.function(&item.sig, &item.block);
        }
    }

    fn visit_item_impl(&mut self, item: &'ast ItemImpl) {
        let of = item.trait_.as_ref().and_then(|(_, path, _)| path.segments.last());
        let shows = of.is_some_and(|of| of.ident == "Debug" || of.ident == "Display");
        if is_left_out(&item.attrs) || shows {
            return;
        }
        let own = match &*item.self_ty {
            syn::Type::Path(path) => path.path.segments.last().map(|last| last.ident.to_string()),
            _ => None,
        };
        let own = own.unwrap_or_else(|| brief(self.text(&*item.self_ty)));
        let name = of.map_or_else(|| own.clone(), |of| format!("<{own} as {}>", brief(self.text(of))));
        self.inside(name, |finder| item.items.iter().for_each(|item| finder.visit_impl_item(item)));
    }

    fn visit_impl_item_fn(&mut self, item: &'ast ImplItemFn) {
        if !is_left_out(&item.attrs) && item.sig.constness.is_none() {
            self.function(&item.sig, &item.block);
        }
    }

    fn visit_item_trait(&mut self, item: &'ast ItemTrait) {
        if !is_left_out(&item.attrs) {
            self.inside(item.ident.to_string(), |finder| {
                item.items.iter().for_each(|item| finder.visit_trait_item(item));
            });
        }
    }

    fn visit_trait_item_fn(&mut self, item: &'ast TraitItemFn) {
        if let Some(block) = item.default.as_ref().filter(|_| !is_left_out(&item.attrs)) {
            self.function(&item.sig, block);
        }
    }

    fn visit_stmt(&mut self, statement: &'ast Stmt) {
        if let Stmt::Expr(expression, Some(_)) = statement {
            if !attributes(expression).is_empty() {
                return;
            }
            self.statement(statement, expression);
        }
        visit::visit_stmt(self, statement);
    }

    fn visit_local(&mut self, local: &'ast syn::Local) {
        if local.attrs.is_empty()
            && let Some(init) = &local.init
        {
            self.visit_expr(&init.expr);
            if let Some((_, diverge)) = &init.diverge {
                self.visit_expr(diverge);
            }
        }
    }

    fn visit_expr_if(&mut self, expression: &'ast ExprIf) {
        self.condition(&expression.cond, &["true", "false"]);
        visit::visit_expr_if(self, expression);
    }

    fn visit_expr_while(&mut self, expression: &'ast ExprWhile) {
        self.condition(&expression.cond, &["false"]);
        visit::visit_expr_while(self, expression);
    }

    fn visit_expr_match(&mut self, expression: &'ast ExprMatch) {
        self.arms(expression);
        visit::visit_expr_match(self, expression);
    }

    fn visit_arm(&mut self, arm: &'ast Arm) {
        if is_left_out(&arm.attrs) {
            return;
        }
        if let Some((_, guard)) = &arm.guard {
            self.condition(guard, &["true", "false"]);
            self.visit_expr(guard);
        }
        self.visit_expr(&arm.body);
    }

    fn visit_expr_binary(&mut self, binary: &'ast ExprBinary) {
        match &binary.op {
            BinOp::And(_) | BinOp::Or(_) => self.logic(binary),
            BinOp::Lt(_) | BinOp::Ge(_) => {
                others(&binary.op).iter().for_each(|other| self.swap(binary, other));
                self.bound(&binary.left, true, binary);
                self.bound(&binary.right, false, binary);
            }
            BinOp::Le(_) | BinOp::Gt(_) => {
                others(&binary.op).iter().for_each(|other| self.swap(binary, other));
                self.bound(&binary.left, false, binary);
                self.bound(&binary.right, true, binary);
            }
            BinOp::Eq(_) | BinOp::Ne(_) => {
                others(&binary.op).iter().for_each(|other| self.swap(binary, other));
                self.bound(&binary.left, true, binary);
                self.bound(&binary.right, true, binary);
            }
            _ if is_assignment(&binary.op) => {}
            _ => others(&binary.op).iter().for_each(|other| self.swap(binary, other)),
        }
        visit::visit_expr_binary(self, binary);
    }

    fn visit_expr_range(&mut self, range: &'ast ExprRange) {
        range.start.iter().chain(&range.end).for_each(|bound| self.bound(bound, true, range));
        visit::visit_expr_range(self, range);
    }

    fn visit_expr_unary(&mut self, unary: &'ast ExprUnary) {
        if matches!(unary.op, UnOp::Not(_)) {
            self.replace(unary, self.text(&*unary.expr).to_owned());
        }
        visit::visit_expr_unary(self, unary);
    }

    fn visit_expr_continue(&mut self, expression: &'ast syn::ExprContinue) {
        self.replace(expression, self.text(expression).replacen("continue", "break", 1));
    }

    // What is computed by the compiler cannot ask the environment.
    fn visit_item_const(&mut self, _: &'ast syn::ItemConst) {}
    fn visit_item_static(&mut self, _: &'ast syn::ItemStatic) {}
    fn visit_impl_item_const(&mut self, _: &'ast syn::ImplItemConst) {}
    fn visit_trait_item_const(&mut self, _: &'ast syn::TraitItemConst) {}
    fn visit_expr_const(&mut self, _: &'ast syn::ExprConst) {}
    fn visit_item_enum(&mut self, _: &'ast syn::ItemEnum) {}
    fn visit_item_struct(&mut self, _: &'ast syn::ItemStruct) {}
    fn visit_type(&mut self, _: &'ast syn::Type) {}
    fn visit_generic_argument(&mut self, _: &'ast syn::GenericArgument) {}
    fn visit_pat(&mut self, _: &'ast Pat) {}

    fn visit_expr_repeat(&mut self, repeat: &'ast syn::ExprRepeat) {
        self.visit_expr(&repeat.expr);
    }
}

/// Tests, and what is not compiled on every system.
fn is_left_out(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let path = attribute.path();
        if path.is_ident("test") {
            return true;
        }
        let syn::Meta::List(list) = &attribute.meta else {
            return false;
        };
        let condition = list.tokens.to_string();
        let here = condition.contains("target_os = \"linux\"") && !condition.starts_with("not");
        path.is_ident("cfg") && !condition.starts_with("feature") && condition != "unix" && !here
    })
}

/// A module may be declared twice, by a feature and without it: its file belongs to neither declaration alone.
fn is_about_features(attribute: &Attribute) -> bool {
    let syn::Meta::List(list) = &attribute.meta else {
        return false;
    };
    let condition = list.tokens.to_string();
    attribute.path().is_ident("cfg") && condition.contains("feature") && !condition.contains("test")
}

fn has_let(condition: &Expr) -> bool {
    match condition {
        Expr::Let(_) => true,
        Expr::Binary(binary) => has_let(&binary.left) || has_let(&binary.right),
        Expr::Paren(inner) => has_let(&inner.expr),
        _ => false,
    }
}

fn is_assignment(op: &BinOp) -> bool {
    use BinOp::{
        AddAssign, BitAndAssign, BitOrAssign, BitXorAssign, DivAssign, MulAssign, RemAssign, ShlAssign,
        ShrAssign, SubAssign,
    };
    matches!(op, AddAssign(_) | BitAndAssign(_) | BitOrAssign(_) | BitXorAssign(_) | DivAssign(_))
        || matches!(op, MulAssign(_) | RemAssign(_) | ShlAssign(_) | ShrAssign(_) | SubAssign(_))
}

fn can_be_left_out(expression: &Expr) -> bool {
    match expression {
        Expr::MethodCall(_) | Expr::Call(_) | Expr::Assign(_) => true,
        Expr::Binary(binary) => is_assignment(&binary.op),
        Expr::Try(inner) => can_be_left_out(&inner.expr),
        Expr::Await(inner) => can_be_left_out(&inner.base),
        _ => false,
    }
}

fn attributes(expression: &Expr) -> &[Attribute] {
    match expression {
        Expr::Block(inner) => &inner.attrs,
        Expr::Call(inner) => &inner.attrs,
        Expr::MethodCall(inner) => &inner.attrs,
        Expr::Assign(inner) => &inner.attrs,
        Expr::Binary(inner) => &inner.attrs,
        Expr::If(inner) => &inner.attrs,
        _ => &[],
    }
}
