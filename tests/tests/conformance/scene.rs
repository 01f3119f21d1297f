//! A [`stage::Scene`] for scenarios in which the server accepts what it is asked: each call returns the object, and a
//! refusal is asked for by name.
//!
//! A path begins with its group and version (`apps/v1/deployments/web`) and lies in the scenario's namespace, or is whole.

use super::stage;
pub use super::stage::{Patch, Scenario};
use serde_json::{Value, json};
use tests::cluster::Options;

/// Scenarios by the names of their functions.
macro_rules! scenarios {
    ($($name:path),* $(,)?) => {
        &[$((stringify!($name), |stage| Box::pin($name($crate::conformance::scene::Scene::on(stage))))),*]
    };
}
pub(crate) use scenarios;

/// Plays all scenarios on one cluster.
pub async fn play(scenarios: &[Scenario]) {
    stage::play(Options::default(), scenarios).await;
}

/// What a scenario plays on.
pub struct Scene {
    pub stage: stage::Scene,
    pub namespace: String,
}

impl Scene {
    pub fn on(stage: stage::Scene) -> Self {
        Self { namespace: stage.namespace.clone(), stage }
    }

    /// A name that no other scenario has, for objects of the cluster's scope.
    pub fn unique(&self, name: &str) -> String {
        format!("{name}-{}", self.namespace)
    }

    pub fn path(&self, path: &str) -> String {
        let (base, rest) = match path.split_once('/') {
            Some(("", _)) | None => return path.to_owned(),
            Some(("v1", rest)) => ("/api/v1".to_owned(), rest),
            Some((group, rest)) => {
                let (version, rest) = rest.split_once('/').expect("group/version/plural");
                (format!("/apis/{group}/{version}"), rest)
            }
        };
        format!("{base}/namespaces/{}/{rest}", self.namespace)
    }

    pub async fn get(&self, path: &str) -> Value {
        self.stage.get(&self.path(path)).await.ok()
    }

    /// A text answer, such as a log.
    pub async fn text(&self, path: &str) -> String {
        let answer = self.stage.get(&self.path(path)).await;
        assert_eq!(answer.code, 200, "{path}: {}", answer.text);
        answer.text
    }

    pub async fn items(&self, path: &str) -> Vec<Value> {
        self.stage.items(&self.path(path)).await
    }

    pub async fn create(&self, path: &str, object: Value) -> Value {
        self.stage.post(&self.path(path), object).await.ok()
    }

    /// The refusal of a create.
    pub async fn refused(&self, path: &str, object: Value, code: u16, text: &str) -> Value {
        self.stage.post(&self.path(path), object).await.refused(code, text)
    }

    pub async fn replace(&self, path: &str, object: Value) -> Value {
        self.stage.put(&self.path(path), &object).await.ok()
    }

    /// Reads, changes and writes `path` until nobody else was faster.
    pub async fn update(&self, path: &str, change: impl Fn(&mut Value)) -> Value {
        for _ in 0..50 {
            let mut object = self.get(path).await;
            change(&mut object);
            let answer = self.stage.put(&self.path(path), &object).await;
            if answer.code != 409 {
                return answer.ok();
            }
        }
        panic!("PUT {path}: fifty conflicts");
    }

    pub async fn merge(&self, path: &str, patch: Value) -> Value {
        self.stage.patch(&self.path(path), Patch::Merge, patch).await.ok()
    }

    pub async fn strategic(&self, path: &str, patch: Value) -> Value {
        self.stage.patch(&self.path(path), Patch::Strategic, patch).await.ok()
    }

    /// DELETE; `null` options for none.
    pub async fn delete(&self, path: &str, options: Value) -> Value {
        self.stage.delete(&self.path(path), options).await.ok()
    }

    /// Watches `path`, a list with what selects from it, from `version` on.
    pub async fn watch(&self, path: &str, version: &Value) -> Watch {
        let query = if path.contains('?') { '&' } else { '?' };
        let version = version.as_str().expect("a resourceVersion");
        Watch(self.stage.watch(&format!("{}{query}resourceVersion={version}", self.path(path))).await)
    }

    /// Lists and watches `path` until `check` finds what it wants among the objects.
    pub async fn until_list<T>(&self, path: &str, what: &str, check: impl Fn(&[Value]) -> Option<T>) -> T {
        let items = self.stage.wait_items(&self.path(path), what, |items| check(items).is_some()).await;
        check(&items).expect("it was found among these")
    }

    /// Watches one object until `check` finds what it wants; `null` stands for an object that is not there.
    pub async fn until<T>(&self, path: &str, what: &str, check: impl Fn(&Value) -> Option<T>) -> T {
        let found = |object: Option<&Value>| check(object.unwrap_or(&Value::Null)).is_some();
        let object = self.stage.wait(&self.path(path), what, found).await;
        check(&object).expect("it was found in this")
    }

    pub async fn gone(&self, path: &str) {
        self.stage.gone(&self.path(path)).await;
    }

    pub async fn until_count(&self, path: &str, count: usize) -> Vec<Value> {
        self.until_list(path, &format!("{count} objects"), |items| (items.len() == count).then(|| items.to_vec())).await
    }

    /// Waits for an event about `name` and returns its message.
    pub async fn event(&self, name: &str, reason: &str) -> String {
        let path = format!("v1/events?fieldSelector=involvedObject.name%3D{name},reason%3D{reason}");
        self.until_list(&path, "an event", |events| Some(events.first()?["message"].as_str()?.to_owned())).await
    }

    /// Waits until the pod is Ready, and returns it.
    pub async fn ready(&self, name: &str) -> Value {
        let ready = |pod: &Value| has_condition(pod, "Ready", "True").then(|| pod.clone());
        self.until(&format!("v1/pods/{name}"), "is Ready", ready).await
    }

    /// Waits until the pod's phase is `phase`, and returns it.
    pub async fn phase(&self, name: &str, phase: &str) -> Value {
        let there = |pod: &Value| (pod["status"]["phase"] == phase).then(|| pod.clone());
        self.until(&format!("v1/pods/{name}"), phase, there).await
    }
}

pub fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    object["status"]["conditions"].as_array()?.iter().find(|c| c["type"] == kind)
}

pub fn has_condition(object: &Value, kind: &str, status: &str) -> bool {
    condition(object, kind).is_some_and(|c| c["status"] == status)
}

/// The reference to an object's controller.
pub fn controller(object: &Value) -> Option<&Value> {
    object["metadata"]["ownerReferences"].as_array()?.iter().find(|owner| owner["controller"] == true)
}

/// The version of an object or a list.
pub fn version(object: &Value) -> &Value {
    &object["metadata"]["resourceVersion"]
}

/// Puts the fields of `patch` over those of `into`, as a merge patch does.
pub fn merged(mut into: Value, patch: Value) -> Value {
    match patch {
        Value::Object(fields) => {
            if !into.is_object() {
                into = json!({});
            }
            for (key, value) in fields {
                let old = into[&key].take();
                into[&key] = merged(old, value);
            }
            into
        }
        other => other,
    }
}

/// A watch as pairs of an event's type and its object.
pub struct Watch(stage::Watch);

impl Watch {
    pub async fn next(&mut self) -> (String, Value) {
        let mut event = self.0.next().await;
        (event["type"].as_str().unwrap_or_default().to_owned(), event["object"].take())
    }

    /// Reads on until an event of this type passes `check`, and returns its object.
    pub async fn until(&mut self, kind: &str, check: impl Fn(&Value) -> bool) -> Value {
        let mut events = self.0.until(|event| event["type"] == kind && check(&event["object"])).await;
        events.pop().map(|mut event| event["object"].take()).expect("the event that was waited for")
    }
}
