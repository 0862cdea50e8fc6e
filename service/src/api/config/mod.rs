//! Settings that are changed while the service runs.

mod bodies;

use poem_openapi::param::Path;
use poem_openapi::{ApiResponse, OpenApi};

pub use self::bodies::{NewSettingValueBody, SettingBody, SettingKind, SettingListBody, SettingValue};
use super::authorize::{Authorized, ReadConfig, WriteConfig};
use super::conventions::versions::etag;
use super::conventions::{IfMatch, JsonBody, Refused, Statuses, statuses};
use super::payload::JsonBytes;
use super::tags::Tag;
use crate::actions::{Actions, Asker, Origin, config};
use crate::domain::config::{Key, Setting};

/// The answer of one setting.
#[derive(ApiResponse)]
pub enum OneSetting {
    /// The setting.
    #[oai(status = 200)]
    Found(
        JsonBytes<SettingBody>,
        /// Its version, for `If-Match`.
        #[oai(header = "ETag")]
        String,
    ),
}

impl OneSetting {
    fn of(setting: &Setting) -> poem::Result<Self> {
        Ok(Self::Found(JsonBytes::of(&SettingBody::from(setting))?, etag(setting.version)))
    }
}

/// The answer of all settings.
#[derive(ApiResponse)]
pub enum SettingList {
    /// All of them.
    #[oai(status = 200)]
    All(JsonBytes<SettingListBody>),
}

statuses! {
    /// Of all settings.
    OfList = 400, 401, 403, 500, 503;
    /// Of one setting.
    OfGet = 400, 401, 403, 404, 500, 503;
    /// Of putting a value.
    OfPut = 400, 401, 403, 404, 408, 412, 413, 415, 422, 428, 500, 503;
    /// Of resetting.
    OfReset = 400, 401, 403, 404, 412, 422, 428, 500, 503;
}

/// The routes of settings.
pub struct ConfigApi {
    /// What they call.
    pub actions: Actions,
}

#[OpenApi(tag = "Tag::Config")]
impl ConfigApi {
    /// Lists all settings
    ///
    /// Those that are changed while the service runs, in the order of their keys. A value that was put holds
    /// before the default, which comes from the environment. Who changed what is told by
    /// `GET /api/v1/audit-events?target_type=config`.
    #[oai(path = "/api/v1/config", method = "get", operation_id = "list_settings")]
    async fn list(&self, _caller: Authorized<ReadConfig>) -> Result<SettingList, Refused<OfList>> {
        let settings = config::list(&self.actions).await?;
        let body = SettingListBody { items: settings.iter().map(SettingBody::from).collect() };
        Ok(SettingList::All(JsonBytes::of(&body)?))
    }

    /// Shows a setting
    ///
    /// The value of a secret is told to nobody. Its history is
    /// `GET /api/v1/audit-events?target_type=config&target_id=KEY`.
    #[oai(path = "/api/v1/config/:key", method = "get", operation_id = "get_setting")]
    async fn get(
        &self,
        _caller: Authorized<ReadConfig>,
        /// The setting.
        #[oai(example = "example_key")]
        key: Path<String>,
    ) -> Result<OneSetting, Refused<OfGet>> {
        Ok(OneSetting::of(&config::get(&self.actions, &key.0).await?)?)
    }

    /// Puts a value
    ///
    /// Meant for the version in `If-Match`. Every replica obeys it within a second. The `rule` of the setting
    /// says what it may be. Putting what is there already changes nothing.
    #[oai(path = "/api/v1/config/:key", method = "put", operation_id = "put_setting")]
    async fn put(
        &self,
        caller: Authorized<WriteConfig>,
        origin: Origin,
        /// The setting.
        #[oai(example = "example_key")]
        key: Path<String>,
        /// The `ETag` of the version that the change is meant for; without it the answer is 428.
        #[oai(name = "If-Match")]
        if_match: IfMatch,
        body: JsonBody<NewSettingValueBody>,
    ) -> Result<OneSetting, Refused<OfPut>> {
        let expected = if_match.required()?;
        let asker = Asker { caller: &caller, origin: &origin };
        let value = body.value.value.0;
        Ok(OneSetting::of(&config::put(&self.actions, asker, &key.0, &expected, &value).await?)?)
    }

    /// Resets a setting to its default
    ///
    /// Meant for the version in `If-Match`. Every replica obeys it within a second.
    #[oai(path = "/api/v1/config/:key", method = "delete", operation_id = "reset_setting")]
    async fn reset(
        &self,
        caller: Authorized<WriteConfig>,
        origin: Origin,
        /// The setting.
        #[oai(example = "example_key")]
        key: Path<String>,
        /// The `ETag` of the version that the change is meant for; without it the answer is 428.
        #[oai(name = "If-Match")]
        if_match: IfMatch,
    ) -> Result<OneSetting, Refused<OfReset>> {
        let expected = if_match.required()?;
        let asker = Asker { caller: &caller, origin: &origin };
        Ok(OneSetting::of(&config::reset(&self.actions, asker, &key.0, &expected).await?)?)
    }
}

fn example_key() -> String {
    Key::LoginDelay.name().to_owned()
}
