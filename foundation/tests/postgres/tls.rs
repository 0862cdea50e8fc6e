//! Each `sslmode` against servers with and without TLS.

use foundation::database::{DatabaseError, DatabaseErrorKind};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

use super::cluster::{Cluster, ask};

const IS_TLS: &str = "SELECT ssl AS tls FROM pg_stat_ssl WHERE pid = pg_backend_pid()";

fn authority(name: &str) -> CertifiedIssuer<'static, KeyPair> {
    let mut parameters = CertificateParams::new(Vec::new()).unwrap();
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    parameters.distinguished_name.push(rcgen::DnType::CommonName, name);
    CertifiedIssuer::self_signed(parameters, KeyPair::generate().unwrap()).unwrap()
}

/// Turns TLS on, with a certificate for the name `localhost`.
async fn with_tls(cluster: &Cluster, authority: &CertifiedIssuer<'static, KeyPair>) {
    let key = KeyPair::generate().unwrap();
    let parameters = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let certificate = parameters.signed_by(&key, authority).unwrap();
    with_certificate(cluster, &certificate.pem(), &key).await;
}

async fn with_certificate(cluster: &Cluster, certificate: &str, key: &KeyPair) {
    let certificate = cluster.write("server.crt", certificate);
    let key = cluster.write("server.key", &key.serialize_pem());
    cluster
        .batch(&[
            &format!("ALTER SYSTEM SET ssl_cert_file = '{}'", certificate.display()),
            &format!("ALTER SYSTEM SET ssl_key_file = '{}'", key.display()),
            "ALTER SYSTEM SET ssl = on",
            "SELECT pg_reload_conf()",
        ])
        .await;
    let address = &cluster.address;
    foundation::testing::eventually(std::time::Duration::from_secs(10), "TLS is on", || async move {
        matches!(tls(&format!("{address}?sslmode=require")).await, Ok(true))
    })
    .await;
}

/// Whether the connection that comes of it is encrypted.
async fn tls(address: &str) -> Result<bool, DatabaseError> {
    ask(address, IS_TLS).await?.get("tls")
}

async fn refused(address: &str) -> String {
    let error = tls(address).await.unwrap_err();
    assert_eq!(error.kind(), DatabaseErrorKind::Tls, "{error:?}");
    assert!(!error.is_transient(), "no certificate becomes right by waiting");
    let said = error.to_string();
    assert!(said.contains("check sslmode and DATABASE_SSL_ROOT_CERT"), "{said}");
    assert!(!said.contains('\n') && !format!("{error:?}").contains("hunter2"), "{said}");
    said
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_mode_of_tls_does_what_libpq_does() {
    let (cluster, right, wrong) = (Cluster::start(), authority("right"), authority("wrong"));
    with_tls(&cluster, &right).await;
    let right = cluster.write("right.pem", &right.pem()).display().to_string();
    // Of several authorities in the file one has to fit.
    let both =
        cluster.write("both.pem", &format!("{}{}", wrong.pem(), std::fs::read_to_string(&right).unwrap()));
    let wrong = cluster.write("wrong.pem", &wrong.pem()).display().to_string();
    let by_name = cluster.address.replace("127.0.0.1", "localhost");
    let by_number = &cluster.address;

    for (mode, expected) in [("", true), ("?sslmode=disable", false), ("?sslmode=prefer", true)] {
        assert_eq!(tls(&format!("{by_number}{mode}")).await.unwrap(), expected, "{mode}");
    }
    // Its number stands for its name where it has none.
    let number_alone =
        format!("postgresql://postgres:postgres@/postgres?hostaddr=127.0.0.1&port={}", cluster.port());
    for (mode, expected) in [("", true), ("&sslmode=disable", false), ("&sslmode=require", true)] {
        assert_eq!(tls(&format!("{number_alone}{mode}")).await.unwrap(), expected, "{mode}");
    }
    let said = refused(&format!("{number_alone}&sslmode=verify-full&sslrootcert={right}")).await;
    assert!(said.contains("not valid for") && said.contains("127.0.0.1"), "{said}");
    // Whatever certificate it is, unless authorities are named.
    assert!(tls(&format!("{by_number}?sslmode=require")).await.unwrap());
    assert!(tls(&format!("{by_number}?sslmode=require&sslrootcert={right}")).await.unwrap());
    refused(&format!("{by_number}?sslmode=require&sslrootcert={wrong}")).await;

    assert!(tls(&format!("{by_name}?sslmode=verify-ca&sslrootcert={right}")).await.unwrap());
    assert!(tls(&format!("{by_number}?sslmode=verify-ca&sslrootcert={right}")).await.unwrap());
    assert!(tls(&format!("{by_number}?sslmode=verify-ca&sslrootcert={}", both.display())).await.unwrap());
    let said = refused(&format!("{by_number}?sslmode=verify-ca&sslrootcert={wrong}")).await;
    assert!(said.contains("UnknownIssuer") || said.contains("authorit"), "{said}");

    assert!(tls(&format!("{by_name}?sslmode=verify-full&sslrootcert={right}")).await.unwrap());
    let said = refused(&format!("{by_number}?sslmode=verify-full&sslrootcert={right}")).await;
    assert!(said.contains("not valid for") && said.contains("127.0.0.1"), "{said}");
    refused(&format!("{by_name}?sslmode=verify-full&sslrootcert={wrong}")).await;
    // The authorities of the operating system did not sign it.
    refused(&format!("{by_name}?sslmode=verify-full")).await;
    let empty = cluster.write("empty.pem", "nothing").display().to_string();
    let said = refused_before_connecting(&format!("{by_name}?sslmode=verify-full&sslrootcert={empty}")).await;
    assert!(said.contains("empty.pem holds no certificate in PEM form"), "{said}");

    // A request to cancel goes the same way.
    let mut connection = super::cluster::connect(&format!("{by_number}?sslmode=require"), &[]).await.unwrap();
    let canceller = connection.canceller();
    let running = tokio::spawn(async move { connection.batch("SELECT pg_sleep(600)").await });
    let (started, canceller) = (&running, &canceller);
    // Again and again, because the first time may come before the statement has begun.
    foundation::testing::eventually(std::time::Duration::from_secs(10), "it ends", || async move {
        canceller.cancel().await.unwrap();
        started.is_finished()
    })
    .await;
    assert_eq!(running.await.unwrap().unwrap_err().kind(), DatabaseErrorKind::QueryCanceled);
}

/// A certificate that signs itself is taken where it is named, unless it is also an authority's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_that_signs_itself() {
    let cluster = Cluster::start();
    for (is_authority, is_ca) in
        [(false, IsCa::ExplicitNoCa), (true, IsCa::Ca(BasicConstraints::Unconstrained))]
    {
        let key = KeyPair::generate().unwrap();
        let mut parameters = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        parameters.is_ca = is_ca;
        let certificate = parameters.self_signed(&key).unwrap().pem();
        with_certificate(&cluster, &certificate, &key).await;
        let named = cluster.write("named.pem", &certificate).display().to_string();
        let address = format!(
            "{}?sslmode=verify-ca&sslrootcert={named}",
            cluster.address.replace("127.0.0.1", "localhost")
        );
        if is_authority {
            foundation::testing::eventually(std::time::Duration::from_secs(10), "it is told", || async {
                let said = tls(&address).await.map_or_else(|error| error.to_string(), |_| String::new());
                said.contains("that of an authority") && said.contains("-extensions usr_cert")
            })
            .await;
        } else {
            assert!(tls(&address).await.unwrap());
        }
    }
}

async fn refused_before_connecting(address: &str) -> String {
    let error = tls(address).await.unwrap_err();
    assert_eq!(error.kind(), DatabaseErrorKind::Tls, "{error:?}");
    error.to_string()
}

#[tokio::test]
async fn a_server_without_tls() {
    let address = foundation::testing::postgres_address();
    for mode in ["", "?sslmode=disable", "?sslmode=prefer", "?sslmode=allow"] {
        assert!(!tls(&format!("{address}{mode}")).await.unwrap(), "{mode}");
    }
    let said = refused(&format!("{address}?sslmode=require")).await;
    assert!(said.contains("server does not support TLS"), "{said}");
}

/// A socket is reached without TLS, as with libpq.
#[tokio::test]
async fn a_unix_socket() {
    let cluster = Cluster::start();
    let sockets = cluster.folder().display().to_string();
    let (encoded, port) = (sockets.replace('/', "%2F"), cluster.port());
    for address in [
        format!("postgresql://postgres:postgres@{encoded}:{port}/postgres"),
        format!("postgresql://postgres:postgres@/postgres?host={sockets}&port={port}"),
    ] {
        assert!(!tls(&address).await.unwrap(), "{address}");
    }
}
