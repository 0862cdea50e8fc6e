//! The figures for Prometheus.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use reqwest::StatusCode;
use serde_json::Value;

use crate::support::{DEADLINE, Program, client, header, wait_for};

#[tokio::test]
async fn the_figures_tell_of_requests_pool_schema_and_build() {
    let mut program = Program::serve(&[("TELEMETRY_PROMETHEUS_ADDRESS", "127.0.0.1:0")]);
    let figures = program.logged("figures for Prometheus");
    let figures = format!("http://{}", figures["address"].as_str().expect("an address"));
    let service = format!("http://{}", program.address());
    let client = client();
    wait_for(&client, &format!("{service}/readyz"), StatusCode::OK).await;
    for path in ["/livez", "/livez", "/nothing/1", "/nothing/2"] {
        client.get(format!("{service}{path}")).send().await.expect("an answer");
    }
    let answer = client.get(format!("{figures}/metrics")).send().await.expect("figures");
    assert!(header(&answer, "content-type").starts_with("application/openmetrics-text; version=1.0.0"));
    let text = answer.text().await.expect("text");
    let labels = |route, status| {
        format!(
            "{{http_request_method=\"GET\",http_route=\"{route}\",http_response_status_code=\"{status}\"}}"
        )
    };
    for line in [
        format!("http_server_request_duration_seconds_count{} 2", labels("/livez", 200)),
        format!("http_server_request_duration_seconds_count{} 2", labels("unmatched", 404)),
        "db_client_connection_count{db_client_connection_pool_name=\"primary\",db_client_connection_state=\"idle\"} ".to_owned(),
        "db_client_connection_count{db_client_connection_pool_name=\"primary\",db_client_connection_state=\"used\"} ".to_owned(),
        "db_client_connection_max{db_client_connection_pool_name=\"primary\"} ".to_owned(),
        "db_client_connection_pending_requests{db_client_connection_pool_name=\"primary\"} 0".to_owned(),
        "bedplate_ready 1".to_owned(),
        "bedplate_schema_version ".to_owned(),
        format!("bedplate_build_info{{version=\"{}\"}} 1", env!("CARGO_PKG_VERSION")),
        "process_start_time_seconds ".to_owned(),
        "bedplate_pruned_rows_total{kind=\"audit events\"} 0".to_owned(),
        "bedplate_prune_rounds_total{outcome=\"failed\"} 0".to_owned(),
        "bedplate_archive_runs_total{state=\"failed\"} 0".to_owned(),
        "bedplate_archive_rows_total{action=\"archive\"} 0".to_owned(),
        "bedplate_archive_freed_bytes_total 0".to_owned(),
        "# EOF".to_owned(),
    ] {
        assert!(text.lines().any(|it| it.starts_with(&line)), "no {line} in {text}");
    }
    let answer = client.get(format!("{figures}/livez")).send().await.expect("an answer");
    assert_eq!(answer.status(), StatusCode::NOT_FOUND);
    let answer = client.post(format!("{figures}/metrics")).send().await.expect("an answer");
    assert_eq!(answer.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(header(&answer, "allow"), "GET, HEAD");
}

/// Waits until one request was counted under this.
async fn counted(figures: &str, method: &str, route: &str, status: u16) {
    let line = format!(
        "http_server_request_duration_seconds_count{{http_request_method=\"{method}\",http_route=\"{route}\",http_response_status_code=\"{status}\"}} 1"
    );
    let (client, started) = (client(), Instant::now());
    loop {
        let text = client.get(figures).send().await.expect("figures").text().await.expect("text");
        if text.lines().any(|it| it == line) {
            return;
        }
        assert!(started.elapsed() < DEADLINE, "no {line} in {text}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_request_that_was_given_up_is_counted() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let database =
        format!("postgres://nobody@{}/none?sslmode=disable", silent.local_addr().expect("an address"));
    let mut program =
        Program::serve(&[("TELEMETRY_PROMETHEUS_ADDRESS", "127.0.0.1:0"), ("DATABASE_URL", &database)]);
    let figures = program.logged("figures for Prometheus");
    let figures = format!("http://{}/metrics", figures["address"].as_str().expect("an address"));
    let mut stream = std::net::TcpStream::connect(program.address()).expect("a connection");
    let head =
        format!("GET /api/v1/users HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n\r\n", "a".repeat(43));
    stream.write_all(head.as_bytes()).expect("it is sent");
    stream.set_read_timeout(Some(Duration::from_millis(500))).expect("a limit");
    assert!(stream.read(&mut [0]).is_err(), "it waits for the database");
    drop(stream);
    counted(&figures, "GET", "/api/v1/users", 499).await;
}

/// It is not the service that was slow.
#[tokio::test]
async fn a_request_whose_body_does_not_come_is_counted_as_late() {
    let mut program =
        Program::serve(&[("TELEMETRY_PROMETHEUS_ADDRESS", "127.0.0.1:0"), ("HTTP_MAX_CONNECTIONS", "1")]);
    let figures = program.logged("figures for Prometheus");
    let figures = format!("http://{}/metrics", figures["address"].as_str().expect("an address"));
    let address = program.address();
    let mut stream = std::net::TcpStream::connect(address).expect("a connection");
    let head = "POST /api/v1/auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n";
    stream.write_all(head.as_bytes()).expect("it is sent");
    let client = client();
    let livez = format!("http://{address}/livez");
    assert_eq!(client.get(livez).send().await.expect("an answer").status(), StatusCode::OK);
    counted(&figures, "POST", "/api/v1/auth/login", 408).await;
}

/// What a program tells: the labels of each name.
type Told = BTreeMap<String, BTreeSet<String>>;

fn told(text: &str) -> Told {
    let mut all = Told::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let name: String = line.chars().take_while(|it| is_word(*it)).collect();
        let labels = line[name.len()..].strip_prefix('{').map_or("", |rest| rest.split_once('}').unwrap().0);
        let labels = labels.split(',').filter_map(|pair| Some(pair.split_once('=')?.0.to_owned()));
        all.entry(name).or_default().extend(labels);
    }
    all
}

fn is_word(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || letter == '_' || letter == ':'
}

/// Takes out what is between these two, and returns both: the rest, and what was taken.
fn take_out(text: &str, open: char, close: char) -> (String, String) {
    let (mut rest, mut taken, mut is_inside) = (String::new(), String::new(), false);
    for letter in text.chars() {
        if is_inside && letter == close {
            is_inside = false;
            taken.push(',');
        } else if !is_inside && letter == open {
            is_inside = true;
            rest.push(' ');
        } else if is_inside {
            taken.push(letter);
        } else {
            rest.push(letter);
        }
    }
    assert!(!is_inside, "{open} without {close}: {text}");
    (rest, taken)
}

/// The names of series, and those of labels, in an expression of PromQL.
fn names(expression: &str) -> (BTreeSet<String>, BTreeSet<String>) {
    const KEYWORDS: [&str; 7] = ["and", "or", "unless", "by", "without", "on", "ignoring"];
    let (rest, _) = take_out(expression, '"', '"');
    let (rest, matchers) = take_out(&rest, '{', '}');
    let (rest, _) = take_out(&rest, '[', ']');
    let first = |it: &str| it.trim().chars().take_while(|it| is_word(*it)).collect::<String>();
    let mut labels: BTreeSet<String> = matchers.split(',').map(first).filter(|it| !it.is_empty()).collect();
    let (mut series, mut is_list) = (BTreeSet::new(), false);
    let mut rest = rest.as_str();
    while let Some(begin) = rest.find(is_word) {
        is_list &= !rest[..begin].contains(')');
        rest = &rest[begin..];
        let word = &rest[..rest.find(|it| !is_word(it)).unwrap_or(rest.len())];
        rest = &rest[word.len()..];
        if KEYWORDS.contains(&word) {
            is_list = !["and", "or", "unless"].contains(&word);
        } else if is_list {
            labels.insert(word.to_owned());
        } else if !rest.trim_start().starts_with('(')
            && !word.starts_with(|it: char| it.is_ascii_digit())
            // An aggregation that says by what first: `sum by (le) (...)`.
            && !["by ", "without "].iter().any(|it| rest.trim_start().starts_with(it))
        {
            series.insert(word.to_owned());
        }
    }
    (series, labels)
}

#[test]
fn names_are_found_in_expressions() {
    let sets = |all: [&[&str]; 2]| all.map(|it| it.iter().map(ToString::to_string).collect::<BTreeSet<_>>());
    for (expression, series, labels) in [
        ("up == 0", &["up"][..], &[][..]),
        (
            "sum by (le, x) (rate(a_b{c=\"d(e)\", f!~\"g|h\"}[5m])) / sum(i) > 0.01",
            &["a_b", "i"],
            &["c", "f", "le", "x"],
        ),
        ("max(j) and k or l unless on (m) n", &["j", "k", "l", "n"], &["m"]),
        ("histogram_quantile(0.99, sum without (o) (p_bucket))", &["p_bucket"], &["o"]),
    ] {
        let (found, found_labels) = names(expression);
        assert_eq!([found, found_labels], sets([series, labels]), "{expression}");
    }
}

/// Every expression below a key `expr`, wherever it is.
fn expressions(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                match value {
                    Value::String(text) if key == "expr" => found.push(text.clone()),
                    other => expressions(other, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|it| expressions(it, found)),
        _ => {}
    }
}

fn yaml_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            yaml_files(&path, found);
        } else if path.extension().is_some_and(|it| it == "yaml") {
            found.push(path);
        }
    }
}

/// The dashboard, the alerts, and those of Kubernetes, each with its expressions.
fn documents() -> Vec<(String, Vec<String>)> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut documents = Vec::new();
    let mut add = |name: &Path, value: &Value| {
        let mut found = Vec::new();
        expressions(value, &mut found);
        documents.push((name.display().to_string(), found));
    };
    let read = |path: &Path| std::fs::read_to_string(path).expect("a file");
    let dashboard = root.join("deploy/observability/grafana/bedplate.json");
    add(&dashboard, &serde_json::from_str(&read(&dashboard)).expect("JSON"));
    let rules = root.join("deploy/observability/rules.yaml");
    add(&rules, &serde_yaml::from_str(&read(&rules)).expect("YAML"));
    let mut files = Vec::new();
    yaml_files(&root.join("k8s"), &mut files);
    for path in files {
        let text = read(&path);
        if text.contains("kind: PrometheusRule") {
            let all = serde_yaml::Deserializer::from_str(&text);
            all.for_each(|it| add(&path, &serde::Deserialize::deserialize(it).expect("YAML")));
        }
    }
    documents
}

/// Several deployments may share a Prometheus: what is reckoned is reckoned for each of them, and what is shown is
/// that of those chosen.
#[test]
fn deployments_are_told_apart() {
    for (document, expressions) in documents() {
        for expression in expressions {
            if document.ends_with(".json") {
                let selectors = expression.matches('{').count();
                let chosen = expression.matches("namespace=~\"$namespace\"").count();
                assert_eq!(chosen, selectors, "{document} shows all namespaces: {expression}");
                continue;
            }
            for aggregation in ["sum", "min", "max", "avg", "count", "group"] {
                for (at, _) in expression.match_indices(aggregation) {
                    let rest = &expression[at + aggregation.len()..];
                    let is_whole = rest.starts_with([' ', '(']) && !expression[..at].ends_with(is_word);
                    // Of what there is none of there is no namespace.
                    assert!(
                        !is_whole || rest.starts_with(" by (namespace") || rest.starts_with("(absent("),
                        "{document} mixes namespaces: {expression}"
                    );
                }
            }
        }
    }
}

/// What kube-state-metrics tells of jobs and of pods that cannot begin, as its documentation has it.
const OF_KUBERNETES: &[(&str, &[&str])] = &[
    ("kube_deployment_spec_replicas", &["namespace", "deployment"]),
    ("kube_pod_init_container_status_waiting_reason", &["namespace", "pod", "container", "reason"]),
    ("kube_job_status_failed", &["namespace", "job_name", "reason"]),
    ("kube_job_status_succeeded", &["namespace", "job_name"]),
    ("kube_cronjob_status_last_successful_time", &["namespace", "cronjob"]),
    ("kube_cronjob_created", &["namespace", "cronjob"]),
];

/// What the service tells and neither the dashboard nor an alert asks for, because somebody who looks for the
/// cause does.
const ASKED_BY_PEOPLE: &[&str] = &[];

/// The figure that a series is of: a histogram is told as three.
fn figure(series: &str) -> &str {
    let ends = ["_bucket", "_count", "_sum"];
    ends.iter().find_map(|end| series.strip_suffix(end)).unwrap_or(series)
}

#[tokio::test]
async fn dashboards_and_alerts_ask_for_what_is_told() {
    let mut program = Program::serve(&[("TELEMETRY_PROMETHEUS_ADDRESS", "127.0.0.1:0")]);
    let figures = program.logged("figures for Prometheus");
    let figures = format!("http://{}/metrics", figures["address"].as_str().expect("an address"));
    let service = format!("http://{}", program.address());
    let client = client();
    wait_for(&client, &format!("{service}/readyz"), StatusCode::OK).await;
    let mut told = told(&client.get(figures).send().await.expect("figures").text().await.expect("text"));
    let ours: BTreeSet<_> = told.keys().map(|it| figure(it).to_owned()).collect();
    let mut asked: BTreeSet<_> = ASKED_BY_PEOPLE.iter().map(|it| (*it).to_owned()).collect();
    told.extend(
        OF_KUBERNETES
            .iter()
            .map(|(name, labels)| ((*name).to_owned(), labels.iter().map(|it| (*it).to_owned()).collect())),
    );
    // What Prometheus adds itself, the namespace where it is told by Kubernetes whom to ask.
    let added = ["instance", "job", "namespace"].map(ToOwned::to_owned);
    for (document, expressions) in documents() {
        assert!(expressions.len() > 5, "{document} has {} expressions", expressions.len());
        for expression in expressions {
            let (series, labels) = names(&expression);
            asked.extend(series.iter().map(|it| figure(it).to_owned()));
            let known = |name: &String| name == "up" || told.contains_key(name);
            let unknown: Vec<_> = series.iter().filter(|it| !known(it)).collect();
            assert!(unknown.is_empty(), "{document} asks for {unknown:?}, which is never told: {expression}");
            let mut of_these: BTreeSet<_> = series.iter().filter_map(|it| told.get(it)).flatten().collect();
            of_these.extend(&added);
            let unknown: Vec<_> = labels.iter().filter(|it| !of_these.contains(it)).collect();
            assert!(
                unknown.is_empty(),
                "{document} names the labels {unknown:?}, which there are none of: {expression}"
            );
        }
    }
    let unasked: Vec<_> = ours.difference(&asked).collect();
    assert!(
        unasked.is_empty(),
        "nobody asks for {unasked:?}: put them on the dashboard (deploy/observability/grafana), into an alert, or \
         into ASKED_BY_PEOPLE"
    );
    let gone: Vec<_> = ASKED_BY_PEOPLE.iter().filter(|it| !ours.contains(**it)).collect();
    assert!(gone.is_empty(), "{gone:?} are never told");
}
