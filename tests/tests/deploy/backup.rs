//! The backups that a timer of systemd and a job of Kubernetes make: their own commands, beside a service that runs.

use super::systemd::{allowed_calls, calls_in, installed, of_unit, unit};
use super::*;
use e2e::redis::Redis;

#[test]
fn the_backup_of_the_timer_is_made_beside_the_service_by_its_user() {
    for key in ["User", "Group", "EnvironmentFile", "SystemCallFilter", "RestrictAddressFamilies", "UMask"] {
        assert_eq!(of_unit("sessman-backup.service", key), unit(key), "{key}");
    }
    assert_eq!(of_unit("sessman-backup.service", "StateDirectory"), ["pserve pserve/backups"]);
    let line = of_unit("sessman-backup.service", "ExecStart").remove(0);
    let line: Vec<String> = line.split(' ').map(str::to_owned).collect();
    let (keep, folder) = (line[6].parse::<usize>().unwrap(), Path::new("/var/lib/pserve/backups"));
    assert_eq!((&*line[3], Path::new(&line[4]), &*line[5]), ("backup", folder, "--keep"));

    let image = installed();
    fs::copy(on_path("strace").unwrap(), image.file("/usr/bin/strace")).unwrap();
    let environment = here(Environment::new());
    let pserve = image.start(&environment).unwrap_or_else(|log| panic!("{log}"));
    pserve.client().post("/sessman/new", json!({ "user_id": "ada" })).expect(201);
    // Made by systemd, with this mode.
    assert_eq!(of_unit("sessman-backup.service", "StateDirectoryMode"), ["0700"]);
    let backups = image.state().join("backups");
    fs::create_dir(&backups).unwrap();
    for day in 1..=20 {
        fs::write(backups.join(format!("sessman-202001{day:02}T000000Z.backup")), "old").unwrap();
    }
    let mut arguments: Vec<String> =
        ["/usr/bin/strace", "-f", "-qq", "-o", "/var/lib/pserve/calls"].map(String::from).into();
    // The file has other instances of sessman, too.
    arguments.extend(line);
    arguments.extend(["--instance", "sessman"].map(String::from));
    succeed(&mut image.command(&environment, &arguments));
    let mut names: Vec<PathBuf> =
        fs::read_dir(&backups).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.sort();
    assert_eq!(names.len(), keep, "{names:?}");
    let made = names.last().unwrap();
    assert_eq!(fs::metadata(made).unwrap().permissions().mode() & 0o777, 0o600);
    let verify = ["/usr/bin/sessctl", "verify", "--unsigned"].map(String::from);
    let inside = folder.join(made.file_name().unwrap()).display().to_string();
    let told = succeed(&mut image.command(&environment, &[&verify[..], &[inside]].concat()));
    assert!(told.contains("whole; 1 session"), "{told}");

    let calls = fs::read_to_string(image.state().join("calls")).unwrap();
    let allowed = allowed_calls();
    let forbidden: Vec<_> = calls_in(&calls).into_iter().filter(|call| !allowed.contains(call)).collect();
    assert!(calls.contains("openat(") && forbidden.is_empty(), "the unit forbids {forbidden:?}");
}

#[test]
fn the_backup_of_kubernetes_is_made_with_the_environment_of_the_pods() {
    let test = "the_backup_of_kubernetes_is_made_with_the_environment_of_the_pods";
    let Some(linters) = linters(test) else { return };
    let folder = tempfile::tempdir().unwrap();
    succeed(Command::new("cp").arg("-r").arg(format!("{DEPLOY}/kubernetes")).arg(folder.path()));
    let mut settings = Environment::new();
    let mut line = Vec::new();
    for store in ["mongodb", "redis"] {
        // It is for whoever wants it, by taking a `#` away.
        let kustomization = folder.path().join(format!("kubernetes/{store}/kustomization.yml"));
        let text = fs::read_to_string(&kustomization).unwrap();
        assert_eq!(text.matches("  # - ../backup\n").count(), 1);
        fs::write(&kustomization, text.replace("  # - ../backup\n", "  - ../backup\n")).unwrap();
        let rendered = folder.path().join(format!("{store}.yml"));
        let mut kubectl = linter(&linters, "kubectl");
        kubectl.args(["kustomize"]).arg(folder.path().join(format!("kubernetes/{store}")));
        fs::write(&rendered, succeed(&mut kubectl)).unwrap();
        succeed(linter(&linters, "kubernetes-validate").arg("--strict").arg(&rendered));
        let objects = documents(&linters, &rendered);
        let named = |kind: &str, name: &str| {
            let is_it = |found: &&Value| found["kind"] == kind && found["metadata"]["name"] == name;
            objects.iter().find(is_it).unwrap_or_else(|| panic!("{store}: no {kind} {name}"))
        };
        let job = &named("CronJob", "pserve-backup")["spec"]["jobTemplate"]["spec"]["template"];
        let deployed = &object(&objects, "Deployment").unwrap()["spec"]["template"];
        let (backup, served) = (&job["spec"]["containers"][0], &deployed["spec"]["containers"][0]);
        for same in ["image", "envFrom", "securityContext"] {
            assert_eq!(backup[same], served[same], "{store}: {same}");
        }
        assert_eq!(job["spec"]["securityContext"], deployed["spec"]["securityContext"]);
        assert_ne!(
            job["metadata"]["labels"]["app"], deployed["metadata"]["labels"]["app"],
            "no requests for it"
        );
        let policy = &named("NetworkPolicy", "pserve-backup")["spec"];
        assert_eq!(policy["podSelector"]["matchLabels"], job["metadata"]["labels"]);
        assert!(policy["ingress"].is_null() && policy["policyTypes"] == json!(["Ingress", "Egress"]));
        let theirs = &named("NetworkPolicy", "pserve")["spec"]["egress"];
        let ports = |rules: &Value| -> Vec<Value> {
            let ports = rules.as_array().unwrap().iter().flat_map(|rule| rule["ports"].as_array().unwrap());
            ports.map(|port| port["port"].clone()).collect()
        };
        assert!(ports(theirs).iter().all(|port| ports(&policy["egress"]).contains(port)), "{store}");
        let claim = &job["spec"]["volumes"][0]["persistentVolumeClaim"]["claimName"];
        assert_eq!(*claim, named("PersistentVolumeClaim", "backups")["metadata"]["name"]);
        assert_eq!(backup["volumeMounts"][0]["mountPath"], backup["command"][2]);
        settings = pod_environment(&linters, &objects);
        line = backup["command"]
            .as_array()
            .unwrap()
            .iter()
            .map(|word| word.as_str().unwrap().to_owned())
            .collect();
    }
    // Its command, in the image, on the Redis of this test, and into the one folder that it may write to.
    let Some(redis) = Redis::start(test, &["--requirepass", SECRET]) else { return };
    let image = Image::build();
    let mut environment = here(settings);
    environment
        .extend([("REDIS_HOST".into(), "127.0.0.1".into()), ("REDIS_PORT".into(), redis.port().to_string())]);
    let pserve = image.start(&environment).unwrap_or_else(|log| panic!("{log}"));
    session(&pserve);
    fs::create_dir(image.state().join("backups")).unwrap();
    let line: Vec<String> =
        line.into_iter().map(|word| word.replace("/var/backups/pserve", "/var/lib/pserve/backups")).collect();
    assert!(succeed(&mut image.command(&environment, &line)).contains(": 1 sessions, "));
    let made: Vec<_> = fs::read_dir(image.state().join("backups")).unwrap().map(Result::unwrap).collect();
    assert_eq!((made.len(), made[0].metadata().unwrap().permissions().mode() & 0o777), (1, 0o600));
}
