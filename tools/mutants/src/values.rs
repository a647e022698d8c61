//! Values that a function may return in place of its own, by its type.

use syn::{GenericArgument, PathArguments, ReturnType, Type, TypePath};

/// What a body may be replaced by; an empty text is the unit. Whether a value compiles is left to the compiler.
pub fn returned(output: &ReturnType) -> Vec<String> {
    match output {
        ReturnType::Default => vec![String::new()],
        ReturnType::Type(_, inner) => of(inner),
    }
}

fn of(inner: &Type) -> Vec<String> {
    match inner {
        Type::Tuple(tuple) if tuple.elems.is_empty() => vec!["()".to_owned()],
        Type::Tuple(_) | Type::Array(_) => vec![default()],
        Type::Reference(reference) if reference.mutability.is_none() => match &*reference.elem {
            Type::Path(path) if path.path.is_ident("str") => texts(&["\"\"", "\"xyzzy\""]),
            Type::Slice(_) => texts(&["&[]"]),
            _ => Vec::new(),
        },
        Type::Paren(paren) => of(&paren.elem),
        Type::Path(path) => named(path),
        _ => Vec::new(),
    }
}

fn named(path: &TypePath) -> Vec<String> {
    let Some(last) = path.path.segments.last() else {
        return Vec::new();
    };
    let inside = |make: &dyn Fn(String) -> String| -> Vec<String> {
        argument(&last.arguments).map(of).unwrap_or_default().into_iter().map(make).collect()
    };
    match last.ident.to_string().as_str() {
        "bool" => texts(&["true", "false"]),
        "u8" | "u16" | "u32" | "u64" | "u128" | "usize" | "i8" | "i16" | "i32" | "i64" | "i128" | "isize"
        | "c_int" => texts(&["0", "1"]),
        "f32" | "f64" => texts(&["0.0", "1.0"]),
        "String" => texts(&["String::new()", "String::from(\"xyzzy\")"]),
        "Option" => {
            let mut values = texts(&["None"]);
            values.extend(inside(&|value| format!("Some({value})")));
            values
        }
        "Result" => inside(&|value| format!("Ok({value})")),
        "Poll" => inside(&|value| format!("::core::task::Poll::Ready({value})")),
        "Box" => inside(&|value| format!("Box::new({value})")),
        _ => vec![default()],
    }
}

/// The first type among the arguments.
fn argument(arguments: &PathArguments) -> Option<&Type> {
    let PathArguments::AngleBracketed(arguments) = arguments else {
        return None;
    };
    arguments.args.iter().find_map(|argument| match argument {
        GenericArgument::Type(inner) => Some(inner),
        _ => None,
    })
}

fn default() -> String {
    "::core::default::Default::default()".to_owned()
}

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|&text| text.to_owned()).collect()
}
