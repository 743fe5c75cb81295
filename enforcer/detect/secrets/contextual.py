"""
Keys without a mark of their own, told by the name they are assigned to: (kind, names, value).

``names`` is a pattern of what the variable, header or sentence is called; ``value`` that of the key.
Between them stand at most a few characters of name, quotes and an assignment.
"""

from __future__ import annotations

_HEX32 = "[a-f0-9]{32}"
_HEX40 = "[a-f0-9]{40}"
_HEX64 = "[a-f0-9]{64}"
_UUID = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"

CONTEXTUAL: tuple[tuple[str, str, str], ...] = (
    ("aws_secret_key", r"aws.{0,12}(?:secret|key)|secret_?access_?key", r"[A-Za-z0-9/+]{40}"),
    ("gcp_private_key_id", r"private_key_id", _HEX40),
    ("azure_openai_key", r"azure.{0,3}openai|aoai", _HEX32),
    ("azure_cosmos_key", r"cosmos", r"[A-Za-z0-9+/]{86}=="),
    ("azure_cognitive_key", r"cognitive|ocp-apim-subscription", _HEX32),
    ("cloudflare_token", r"cloudflare", r"[A-Za-z0-9_\-]{40}"),
    ("cloudflare_global_key", r"cloudflare|x-auth-key", r"[a-f0-9]{37}"),
    ("heroku_uuid_key", r"heroku", _UUID),
    ("linode_token", r"linode", _HEX64),
    ("vultr_key", r"vultr", r"[A-Z0-9]{36}"),
    ("fastly_token", r"fastly", r"[A-Za-z0-9_\-]{32}"),
    ("datadog_key", r"datadog|dd[_-]api", _HEX32),
    ("datadog_app_key", r"datadog|dd[_-]app", _HEX40),
    ("pagerduty_token", r"pagerduty|pd_api", r"[A-Za-z0-9+_\-]{20}"),
    ("opsgenie_key", r"opsgenie", _UUID),
    ("rollbar_token", r"rollbar", _HEX32),
    ("bugsnag_key", r"bugsnag", _HEX32),
    ("sumologic_key", r"sumo", r"[A-Za-z0-9]{64}"),
    ("loggly_token", r"loggly", _UUID),
    ("splunk_hec_token", r"splunk|hec_token", _UUID),
    ("codecov_token", r"codecov", _UUID),
    ("snyk_token", r"snyk", _UUID),
    ("travis_token", r"travis", r"[A-Za-z0-9_\-]{22}"),
    ("drone_token", r"droneci|drone_token", r"[A-Za-z0-9]{32}"),
    ("coveralls_token", r"coveralls", r"[A-Za-z0-9]{33}"),
    ("jenkins_token", r"jenkins", r"11[a-f0-9]{32}"),
    ("algolia_key", r"algolia", _HEX32),
    ("okta_token", r"okta", r"00[A-Za-z0-9_\-]{40}"),
    ("auth0_secret", r"auth0", r"[A-Za-z0-9_\-]{64}"),
    ("twitch_secret", r"twitch", r"[a-z0-9]{30}"),
    ("twitter_secret", r"twitter", r"[A-Za-z0-9]{50}"),
    ("linkedin_secret", r"linkedin", r"[A-Za-z0-9]{16}"),
    ("facebook_secret", r"facebook|fb_app", _HEX32),
    ("spotify_secret", r"spotify", _HEX32),
    ("reddit_secret", r"reddit", r"[A-Za-z0-9_\-]{27}"),
    ("zoom_secret", r"zoom", r"[A-Za-z0-9]{32}"),
    ("zendesk_token", r"zendesk", r"[A-Za-z0-9]{40}"),
    ("freshdesk_key", r"freshdesk|freshbooks", r"[A-Za-z0-9]{20}"),
    ("intercom_token", r"intercom", r"[A-Za-z0-9=_\-]{60}"),
    ("mattermost_token", r"mattermost", r"[a-z0-9]{26}"),
    ("jira_token", r"jira|atlassian|confluence", r"[A-Za-z0-9]{24}"),
    ("bitbucket_secret", r"bitbucket", r"[A-Za-z0-9=_\-]{64}"),
    ("confluent_secret", r"confluent", r"[A-Za-z0-9+/]{64}"),
    ("mongodb_atlas_key", r"atlas.{0,8}(?:private|api)", _UUID),
    ("elastic_api_key", r"elastic|apikey", r"[A-Za-z0-9]{58}=="),
    ("cohere_key", r"cohere|co_api", r"[A-Za-z0-9]{40}"),
    ("mistral_key", r"mistral", r"[A-Za-z0-9]{32}"),
    ("together_key", r"together", _HEX64),
    ("wandb_key", r"wandb|weights.{0,5}biases", _HEX40),
    ("assemblyai_key", r"assembly", _HEX32),
    ("deepgram_key", r"deepgram", _HEX40),
    ("stability_key", r"stability", r"sk-[A-Za-z0-9]{50}"),
    ("ai21_key", r"ai21", r"[A-Za-z0-9]{32}"),
    ("coinbase_token", r"coinbase", r"[A-Za-z0-9_\-]{64}"),
    ("binance_key", r"binance", r"[A-Za-z0-9]{64}"),
    ("kraken_secret", r"kraken", r"[A-Za-z0-9/=+_\-]{80,90}"),
    ("kucoin_key", r"kucoin", r"[a-f0-9]{24}"),
    ("bittrex_key", r"bittrex", _HEX32),
    ("paypal_secret", r"paypal", r"E[A-Za-z0-9_\-]{79}"),
    ("etsy_token", r"etsy", r"[a-z0-9]{24}"),
    ("finnhub_token", r"finnhub", r"[a-z0-9]{20}"),
    ("openweather_key", r"openweather|owm", _HEX32),
    ("rapidapi_key", r"rapidapi|x-rapidapi", r"[A-Za-z0-9]{50}"),
    ("sendbird_token", r"sendbird", _HEX40),
    ("twilio_auth_token", r"twilio", _HEX32),
    ("vonage_secret", r"vonage|nexmo", r"[A-Za-z0-9]{16}"),
    ("messagebird_key", r"messagebird", r"[A-Za-z0-9]{25}"),
    ("plaid_secret", r"plaid", r"[a-z0-9]{30}"),
)
