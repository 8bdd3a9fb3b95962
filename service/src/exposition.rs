//! The two text formats that metrics are read in: OpenMetrics 1.0, which is what the library writes, and Prometheus'
//! older one, which `promtool check metrics`, node_exporter's textfile collector and many scripts expect.

/// Media type of OpenMetrics.
pub const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// Media type of the older format.
pub const CLASSIC: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Whether whoever sent this Accept header asks for OpenMetrics by name, as Prometheus does.
#[must_use]
pub fn wants_openmetrics(accept: &str) -> bool {
    accept.split(',').any(|range| {
        let mut parts = range.split(';').map(str::trim);
        let named =
            parts.next().is_some_and(|name| name.eq_ignore_ascii_case("application/openmetrics-text"));
        // RFC 9110 §12.4.2: a weight of 0 is "not acceptable".
        let refused = parts.any(|parameter| {
            parameter.strip_prefix("q=").is_some_and(|weight| weight.parse::<f64>() == Ok(0.0))
        });
        named && !refused
    })
}

/// The same metrics in the older format: there, a counter's family has the name of its samples, and there are no units
/// and no end.
#[must_use]
pub fn classic(openmetrics: &str) -> String {
    let mut text = String::with_capacity(openmetrics.len());
    // A family's help comes before its type, on which its name depends.
    let mut help: Option<(&str, &str)> = None;
    for line in openmetrics.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            help = rest.split_once(' ');
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' '))
        {
            let (suffix, kind) = match kind {
                "counter" => ("_total", "counter"),
                "info" => ("_info", "gauge"),
                "unknown" => ("", "untyped"),
                other => ("", other),
            };
            if let Some((_, words)) = help.take().filter(|(of, _)| *of == name) {
                text.push_str(&format!("# HELP {name}{suffix} {words}\n"));
            }
            text.push_str(&format!("# TYPE {name}{suffix} {kind}\n"));
        } else if !line.starts_with('#') {
            text.push_str(line);
            text.push('\n');
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counters_family_gets_the_name_of_its_samples_and_units_and_the_end_go() {
        let openmetrics = "# HELP a_bytes Bytes.\n# TYPE a_bytes counter\n# UNIT a_bytes bytes\na_bytes_total{k=\"x\"} 1\n\
                           # HELP b B.\n# TYPE b gauge\nb 2\n# EOF\n";
        let expected = "# HELP a_bytes_total Bytes.\n# TYPE a_bytes_total counter\na_bytes_total{k=\"x\"} 1\n\
                        # HELP b B.\n# TYPE b gauge\nb 2\n";
        assert_eq!(classic(openmetrics), expected);
    }

    #[test]
    fn openmetrics_is_for_those_who_name_it() {
        let prometheus =
            "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1";
        let cases =
            [(prometheus, true), ("*/*", false), ("", false), ("application/openmetrics-text;q=0", false)];
        for (accept, expected) in cases {
            assert_eq!(wants_openmetrics(accept), expected, "{accept}");
        }
    }
}
