//! `aegis config show`: the effective settings, with where each value comes from.

use serde_json::json;

use crate::args::Named;
use crate::error::CliError;
use crate::home::Home;
use crate::output;

pub(crate) fn show(home: &Home, named: &Named) -> Result<(), CliError> {
    let configuration = home.meant(named.name.as_ref())?;
    let file = configuration.file.display().to_string();
    let from = |is_set: bool| if is_set { file.clone() } else { "default".to_owned() };
    let dir = match &configuration.sandbox_dir {
        Some(dir) => dir.display().to_string(),
        None => "the directory that the command starts in".to_owned(),
    };
    let rows = vec![
        ["name".to_owned(), configuration.name.to_string(), from(true)],
        ["sandbox_dir".to_owned(), dir, from(configuration.sandbox_dir.is_some())],
        [
            "ledger_path".to_owned(),
            configuration.ledger.display().to_string(),
            from(configuration.ledger_is_set),
        ],
    ];
    if named.json.json {
        let settings: serde_json::Map<String, serde_json::Value> =
            rows.into_iter().map(|[key, value, from]| (key, json!({"value": value, "from": from}))).collect();
        return Ok(output::json(&settings.into())?);
    }
    Ok(output::table(["SETTING", "VALUE", "FROM"], rows)?)
}
