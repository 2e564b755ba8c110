//! Results, as they are written and read.

use crate::timing::median;
use serde_json::Value;

pub fn all(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

pub fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

pub fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or(f64::NAN)
}

pub fn named<'a>(results: &'a Value, name: &str) -> Option<&'a Value> {
    all(results).iter().find(|result| result["name"] == name)
}

/// The runs of all results, each with what is not measured anew in each.
pub fn runs(results: &Value) -> Vec<Value> {
    let with_all = |run: &Value| {
        let mut one = results.clone();
        let known = one.as_object_mut().expect("results");
        let runs = known.remove("runs").expect("runs");
        known.insert("number".into(), all(&runs).len().into());
        known.extend(run.as_object().expect("results").clone());
        one
    };
    all(&results["runs"]).iter().map(with_all).collect()
}

/// The same with medians over the runs for figures.
pub fn combined(runs: &[Value]) -> Value {
    let part = |of: &dyn Fn(&Value) -> Value| combined(&runs.iter().map(of).collect::<Vec<_>>());
    let figures = || runs.iter().map(number);
    match &runs[0] {
        first if runs.iter().all(|run| run == first) => first.clone(),
        Value::Number(_) => median(figures()).into(),
        Value::Array(parts) => (0..parts.len()).map(|i| part(&|run| run[i].clone())).collect(),
        Value::Object(parts) => {
            let name = |name: &String| (name.clone(), part(&|run| run[name.as_str()].clone()));
            Value::Object(parts.keys().map(name).collect())
        }
        other => other.clone(),
    }
}
