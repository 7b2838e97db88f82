//! The reference page, made of the table of routes.

use std::fmt::Write;

use super::openapi::queries;
use super::route::{Field, Gives, Group, Kind, Operation, Param, Route};
use super::routes::GROUPS;

/// How the page looks: in the colours that the reader's system asks for.
const STYLE: &str = "
:root { color-scheme: light dark; --edge: #8886; --soft: #8881; --word: #0b57d0; }
@media (prefers-color-scheme: dark) { :root { --word: #8ab4f8; } }
* { box-sizing: border-box; }
body { font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 72rem; padding: 1rem 1.25rem 4rem; }
h1 { font-size: 1.75rem; margin: 1rem 0 .25rem; }
h2 { border-top: 1px solid var(--edge); font-size: 1.3rem; margin: 2.5rem 0 .5rem; padding-top: 1rem; }
h3 { font: 600 1rem/1.4 ui-monospace, monospace; margin: 1.5rem 0 .25rem; overflow-wrap: anywhere; }
a { color: var(--word); }
nav ul { columns: 14rem; list-style: none; padding: 0; }
code { background: var(--soft); border-radius: .2rem; font: .9em ui-monospace, monospace; padding: .1em .25em; }
pre { background: var(--soft); border-radius: .3rem; overflow-x: auto; padding: .75rem; }
pre code { background: none; padding: 0; }
.operation { border-left: 3px solid var(--edge); margin: .5rem 0; padding: .1rem 0 .1rem .9rem; }
.operation p { margin: .2rem 0; }
.method { font: 700 .85rem ui-monospace, monospace; }
.who { font-size: .9rem; opacity: .8; }
table { border-collapse: collapse; font-size: .92rem; margin: .4rem 0; width: 100%; }
caption { font-size: .85rem; font-weight: 600; text-align: left; }
th, td { border-bottom: 1px solid var(--edge); padding: .2rem .75rem .2rem 0; text-align: left; vertical-align: top; }
th[scope=row] { font-weight: 400; white-space: nowrap; width: 16rem; }
@media (max-width: 40rem) { th[scope=row] { white-space: normal; width: 8rem; } }
";

/// The page. `prefix` comes before all paths.
pub(super) fn page(version: &str, prefix: &str) -> String {
    let mut page = String::new();
    // Nothing fails that writes to a string.
    let _ = write_page(&mut page, version, prefix);
    page
}

fn write_page(page: &mut String, version: &str, prefix: &str) -> std::fmt::Result {
    let prefix = escape(prefix);
    write!(
        page,
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>HTTP API of Leveret</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<header>\n\
         <h1>HTTP API</h1>\n\
         <p>Leveret {version} offers what the management plugin of RabbitMQ does, under the same paths. \
         The same as a document for programs: <a href=\"{prefix}/api/openapi.json\">openapi.json</a>.</p>\n</header>\n"
    )?;
    page.push_str("<nav aria-label=\"Contents\">\n<ul>\n");
    for group in GROUPS {
        writeln!(page, "<li><a href=\"#{}\">{}</a></li>", anchor(group.title), escape(group.title))?;
    }
    page.push_str("</ul>\n</nav>\n<main>\n");
    write!(page, "{}", introduction(&prefix))?;
    for group in GROUPS {
        write_group(page, group, &prefix)?;
    }
    page.push_str("</main>\n</body>\n</html>\n");
    Ok(())
}

fn introduction(prefix: &str) -> String {
    format!(
        "<section aria-labelledby=\"use\">\n<h2 id=\"use\">How to use it</h2>\n\
         <p>Say who you are with HTTP basic authentication, or with a bearer token if the broker takes tokens. \
         Bodies and answers are JSON. Parts of a path are percent-encoded, so the vhost <code>/</code> is \
         <code>%2F</code>.</p>\n\
         <pre><code>curl -u guest:guest http://localhost:15672{prefix}/api/overview\n\
         curl -u guest:guest -X PUT -d '{{\"durable\": true}}' \
         http://localhost:15672{prefix}/api/queues/%2F/orders</code></pre>\n\
         <p>Listings come as an array. With <code>page</code> they come as an object with that page, and \
         <code>name</code> filters. <code>sort</code>, <code>sort_reverse</code> and <code>columns</code> work on every \
         listing; a field within a field is written <code>message_stats.publish</code>.</p>\n\
         <p>What fails answers with <code>{{\"error\": …, \"reason\": …}}</code>: 400 for what is wrong or refused, 401 \
         for who may not, 404 for what is not there, 413 for a body that is too large, 503 for what is not well.</p>\n\
         </section>\n"
    )
}

fn write_group(page: &mut String, group: &Group, prefix: &str) -> std::fmt::Result {
    let id = anchor(group.title);
    writeln!(page, "<section aria-labelledby=\"{id}\">\n<h2 id=\"{id}\">{}</h2>", escape(group.title))?;
    for Route { path, operations } in group.routes {
        writeln!(page, "<h3>{prefix}{}</h3>", escape(path))?;
        for operation in *operations {
            write_operation(page, operation)?;
        }
    }
    page.push_str("</section>\n");
    Ok(())
}

fn write_operation(page: &mut String, operation: &Operation) -> std::fmt::Result {
    let gives = match operation.gives {
        Gives::Nothing => String::new(),
        Gives::One(name) => format!(" Gives <code>{name}</code>."),
        Gives::Many(name) => format!(" Gives a listing of <code>{name}</code>, with pages."),
        Gives::All(name) => format!(" Gives an array of <code>{name}</code>."),
    };
    writeln!(
        page,
        "<div class=\"operation\">\n<p><span class=\"method\">{}</span> {}.{gives}</p>\n<p class=\"who\">For {}.</p>",
        operation.method,
        marked(operation.summary),
        operation.access.text()
    )?;
    // What all listings take is said once, above.
    let own = queries(operation).filter(|param| operation.query.iter().any(|own| own.name == param.name));
    write_table(page, "Query", own.map(|Param { name, help }| ((*name).to_owned(), marked(help))))?;
    let fields = operation.body.unwrap_or_default().iter();
    write_table(page, "Body", fields.map(|field| (field.name.to_owned(), explained(field))))?;
    page.push_str("</div>\n");
    Ok(())
}

fn write_table(page: &mut String, title: &str, rows: impl Iterator<Item = (String, String)>) -> std::fmt::Result {
    let mut rows = rows.peekable();
    if rows.peek().is_none() {
        return Ok(());
    }
    writeln!(page, "<table>\n<caption>{title}</caption>\n<tbody>")?;
    for (name, help) in rows {
        writeln!(page, "<tr><th scope=\"row\"><code>{}</code></th><td>{help}</td></tr>", escape(&name))?;
    }
    page.push_str("</tbody>\n</table>\n");
    Ok(())
}

fn explained(field: &Field) -> String {
    let kind = match field.kind {
        Kind::Text => "text",
        Kind::Flag => "true or false",
        Kind::Number => "number",
        Kind::Object => "object",
        Kind::List => "array",
        Kind::Any => "anything",
    };
    let needed = if field.is_needed { ", has to be there" } else { "" };
    format!("{} ({kind}{needed})", marked(field.help))
}

/// What a part of the page is linked by.
fn anchor(title: &str) -> String {
    title.to_lowercase().replace(|letter: char| !letter.is_ascii_alphanumeric(), "-")
}

/// Text for a page, with `code` as code.
fn marked(text: &str) -> String {
    let mut marked = String::new();
    for (index, part) in text.split('`').enumerate() {
        let part = escape(part);
        if index % 2 == 1 {
            marked.push_str("<code>");
            marked.push_str(&part);
            marked.push_str("</code>");
        } else {
            marked.push_str(&part);
        }
    }
    marked
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_every_route_and_method() {
        let page = page("1", "/hares");
        for group in GROUPS {
            assert!(page.contains(&format!(">{}</h2>", escape(group.title))), "{}", group.title);
            for route in group.routes {
                assert!(page.contains(&format!("<h3>/hares{}</h3>", escape(route.path))), "{}", route.path);
                for operation in route.operations {
                    assert!(page.contains(&marked(operation.summary)), "{}", operation.summary);
                }
            }
        }
    }

    #[test]
    fn text_is_never_taken_for_a_tag() {
        for (text, expected) in
            [("a <b> & \"c\"", "a &lt;b&gt; &amp; &quot;c&quot;"), ("set `x<y` to", "set <code>x&lt;y</code> to")]
        {
            assert_eq!(marked(text), expected);
        }
    }
}
