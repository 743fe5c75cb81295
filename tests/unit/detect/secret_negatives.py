"""
Texts that look like a secret of a kind and are none: documentation, placeholders, names in code.

Two are written for every kind; a kind without them fails its test.
"""

from __future__ import annotations

NEGATIVES: dict[str, tuple[str, ...]] = {
    "aws_access_key": (
        "the aws access key begins with AKIA and is kept elsewhere",
        "set it to AKIAxxxxxxxxxxxxxxxxxxxx or AKIAEXAMPLE",
    ),
    "aws_session_key": (
        "the aws session key begins with ASIA and is kept elsewhere",
        "set it to ASIAxxxxxxxxxxxxxxxxxxxx or ASIAEXAMPLE",
    ),
    "aws_bedrock_key": (
        "the aws bedrock key begins with ABSK and is kept elsewhere",
        "set it to ABSKxxxxxxxxxxxxxxxxxxxx or ABSKEXAMPLE",
    ),
    "aws_bedrock_short_key": (
        "the aws bedrock short key begins with bedrock-api-key- and is kept elsewhere",
        "set it to bedrock-api-key-xxxxxxxxxxxxxxxxxxxx or bedrock-api-key-EXAMPLE",
    ),
    "aws_mws_token": (
        "the aws mws token begins with amzn.mws. and is kept elsewhere",
        "set it to amzn.mws.xxxxxxxxxxxxxxxxxxxx or amzn.mws.EXAMPLE",
    ),
    "google_api_key": (
        "the google api key begins with AIza and is kept elsewhere",
        "set it to AIzaxxxxxxxxxxxxxxxxxxxx or AIzaEXAMPLE",
    ),
    "google_oauth_token": (
        "the google oauth token begins with ya29. and is kept elsewhere",
        "set it to ya29.xxxxxxxxxxxxxxxxxxxx or ya29.EXAMPLE",
    ),
    "google_oauth_secret": (
        "the google oauth secret begins with GOCSPX- and is kept elsewhere",
        "set it to GOCSPX-xxxxxxxxxxxxxxxxxxxx or GOCSPX-EXAMPLE",
    ),
    "google_refresh_token": (
        "the google refresh token begins with 1//0 and is kept elsewhere",
        "set it to 1//0xxxxxxxxxxxxxxxxxxxx or 1//0EXAMPLE",
    ),
    "azure_ad_secret": (
        "the azure ad secret begins with 8Q~ and is kept elsewhere",
        "set it to 8Q~xxxxxxxxxxxxxxxxxxxx or 8Q~EXAMPLE",
    ),
    "azure_storage_key": (
        "the azure storage key begins with AccountKey= and is kept elsewhere",
        "set it to AccountKey=xxxxxxxxxxxxxxxxxxxx or AccountKey=EXAMPLE",
    ),
    "azure_shared_access_key": (
        "the azure shared access key begins with SharedAccessKey= and is kept elsewhere",
        "set it to SharedAccessKey=xxxxxxxxxxxxxxxxxxxx or SharedAccessKey=EXAMPLE",
    ),
    "azure_sas_signature": (
        "the azure sas signature begins with sig= and is kept elsewhere",
        "set it to sig=xxxxxxxxxxxxxxxxxxxx or sig=EXAMPLE",
    ),
    "azure_devops_token": (
        "the azure devops token begins with AZDO and is kept elsewhere",
        "set it to AZDOxxxxxxxxxxxxxxxxxxxx or AZDOEXAMPLE",
    ),
    "azure_search_key": (
        "the azure search key begins with AzSe and is kept elsewhere",
        "set it to AzSexxxxxxxxxxxxxxxxxxxx or AzSeEXAMPLE",
    ),
    "digitalocean_token": (
        "the digitalocean token begins with dop_v1_ and is kept elsewhere",
        "set it to dop_v1_xxxxxxxxxxxxxxxxxxxx or dop_v1_EXAMPLE",
    ),
    "digitalocean_oauth_token": (
        "the digitalocean oauth token begins with doo_v1_ and is kept elsewhere",
        "set it to doo_v1_xxxxxxxxxxxxxxxxxxxx or doo_v1_EXAMPLE",
    ),
    "digitalocean_refresh_token": (
        "the digitalocean refresh token begins with dor_v1_ and is kept elsewhere",
        "set it to dor_v1_xxxxxxxxxxxxxxxxxxxx or dor_v1_EXAMPLE",
    ),
    "digitalocean_spaces_key": (
        "the digitalocean spaces key begins with DO00 and is kept elsewhere",
        "set it to DO00xxxxxxxxxxxxxxxxxxxx or DO00EXAMPLE",
    ),
    "alibaba_access_key": (
        "the alibaba access key begins with LTAI and is kept elsewhere",
        "set it to LTAIxxxxxxxxxxxxxxxxxxxx or LTAIEXAMPLE",
    ),
    "tencent_secret_id": (
        "the tencent secret id begins with AKID and is kept elsewhere",
        "set it to AKIDxxxxxxxxxxxxxxxxxxxx or AKIDEXAMPLE",
    ),
    "yandex_api_key": (
        "the yandex api key begins with AQVN and is kept elsewhere",
        "set it to AQVNxxxxxxxxxxxxxxxxxxxx or AQVNEXAMPLE",
    ),
    "yandex_iam_token": (
        "the yandex iam token begins with t1. and is kept elsewhere",
        "set it to t1.xxxxxxxxxxxxxxxxxxxx or t1.EXAMPLE",
    ),
    "cloudflare_origin_ca_key": (
        "the cloudflare origin ca key begins with v1.0- and is kept elsewhere",
        "set it to v1.0-xxxxxxxxxxxxxxxxxxxx or v1.0-EXAMPLE",
    ),
    "cloudflare_user_token": (
        "the cloudflare user token begins with cfut_ and is kept elsewhere",
        "set it to cfut_xxxxxxxxxxxxxxxxxxxx or cfut_EXAMPLE",
    ),
    "heroku_api_key": (
        "the heroku api key begins with HRKU-AA and is kept elsewhere",
        "set it to HRKU-AAxxxxxxxxxxxxxxxxxxxx or HRKU-AAEXAMPLE",
    ),
    "flyio_token": (
        "the flyio token begins with fm2_ and is kept elsewhere",
        "set it to fm2_xxxxxxxxxxxxxxxxxxxx or fm2_EXAMPLE",
    ),
    "flyio_old_token": (
        "the flyio old token begins with fo1_ and is kept elsewhere",
        "set it to fo1_xxxxxxxxxxxxxxxxxxxx or fo1_EXAMPLE",
    ),
    "vercel_token": (
        "the vercel token begins with vcp_ and is kept elsewhere",
        "set it to vcp_xxxxxxxxxxxxxxxxxxxx or vcp_EXAMPLE",
    ),
    "netlify_token": (
        "the netlify token begins with nfp_ and is kept elsewhere",
        "set it to nfp_xxxxxxxxxxxxxxxxxxxx or nfp_EXAMPLE",
    ),
    "render_api_key": (
        "the render api key begins with rnd_ and is kept elsewhere",
        "set it to rnd_xxxxxxxxxxxxxxxxxxxx or rnd_EXAMPLE",
    ),
    "openshift_token": (
        "the openshift token begins with sha256~ and is kept elsewhere",
        "set it to sha256~xxxxxxxxxxxxxxxxxxxx or sha256~EXAMPLE",
    ),
    "github_token": (
        "the github token begins with ghp_ and is kept elsewhere",
        "set it to ghp_xxxxxxxxxxxxxxxxxxxx or ghp_EXAMPLE",
    ),
    "github_oauth_token": (
        "the github oauth token begins with gho_ and is kept elsewhere",
        "set it to gho_xxxxxxxxxxxxxxxxxxxx or gho_EXAMPLE",
    ),
    "github_user_token": (
        "the github user token begins with ghu_ and is kept elsewhere",
        "set it to ghu_xxxxxxxxxxxxxxxxxxxx or ghu_EXAMPLE",
    ),
    "github_app_token": (
        "the github app token begins with ghs_ and is kept elsewhere",
        "set it to ghs_xxxxxxxxxxxxxxxxxxxx or ghs_EXAMPLE",
    ),
    "github_refresh_token": (
        "the github refresh token begins with ghr_ and is kept elsewhere",
        "set it to ghr_xxxxxxxxxxxxxxxxxxxx or ghr_EXAMPLE",
    ),
    "github_fine_grained_token": (
        "the github fine grained token begins with github_pat_ and is kept elsewhere",
        "set it to github_pat_xxxxxxxxxxxxxxxxxxxx or github_pat_EXAMPLE",
    ),
    "gitlab_token": (
        "the gitlab token begins with glpat- and is kept elsewhere",
        "set it to glpat-xxxxxxxxxxxxxxxxxxxx or glpat-EXAMPLE",
    ),
    "gitlab_deploy_token": (
        "the gitlab deploy token begins with gldt- and is kept elsewhere",
        "set it to gldt-xxxxxxxxxxxxxxxxxxxx or gldt-EXAMPLE",
    ),
    "gitlab_runner_token": (
        "the gitlab runner token begins with glrt- and is kept elsewhere",
        "set it to glrt-xxxxxxxxxxxxxxxxxxxx or glrt-EXAMPLE",
    ),
    "gitlab_trigger_token": (
        "the gitlab trigger token begins with glptt- and is kept elsewhere",
        "set it to glptt-xxxxxxxxxxxxxxxxxxxx or glptt-EXAMPLE",
    ),
    "gitlab_agent_token": (
        "the gitlab agent token begins with glagent- and is kept elsewhere",
        "set it to glagent-xxxxxxxxxxxxxxxxxxxx or glagent-EXAMPLE",
    ),
    "gitlab_feed_token": (
        "the gitlab feed token begins with glft- and is kept elsewhere",
        "set it to glft-xxxxxxxxxxxxxxxxxxxx or glft-EXAMPLE",
    ),
    "gitlab_incoming_mail_token": (
        "the gitlab incoming mail token begins with glimt- and is kept elsewhere",
        "set it to glimt-xxxxxxxxxxxxxxxxxxxx or glimt-EXAMPLE",
    ),
    "gitlab_oauth_secret": (
        "the gitlab oauth secret begins with gloas- and is kept elsewhere",
        "set it to gloas-xxxxxxxxxxxxxxxxxxxx or gloas-EXAMPLE",
    ),
    "gitlab_scim_token": (
        "the gitlab scim token begins with glsoat- and is kept elsewhere",
        "set it to glsoat-xxxxxxxxxxxxxxxxxxxx or glsoat-EXAMPLE",
    ),
    "gitlab_ci_job_token": (
        "the gitlab ci job token begins with glcbt- and is kept elsewhere",
        "set it to glcbt-xxxxxxxxxxxxxxxxxxxx or glcbt-EXAMPLE",
    ),
    "bitbucket_token": (
        "the bitbucket token begins with ATBB and is kept elsewhere",
        "set it to ATBBxxxxxxxxxxxxxxxxxxxx or ATBBEXAMPLE",
    ),
    "atlassian_token": (
        "the atlassian token begins with ATATT3xFfGF0 and is kept elsewhere",
        "set it to ATATT3xFfGF0xxxxxxxxxxxxxxxxxxxx or ATATT3xFfGF0EXAMPLE",
    ),
    "atlassian_access_token": (
        "the atlassian access token begins with ATCTT3xFfGN0 and is kept elsewhere",
        "set it to ATCTT3xFfGN0xxxxxxxxxxxxxxxxxxxx or ATCTT3xFfGN0EXAMPLE",
    ),
    "npm_token": (
        "the npm token begins with npm_ and is kept elsewhere",
        "set it to npm_xxxxxxxxxxxxxxxxxxxx or npm_EXAMPLE",
    ),
    "pypi_token": (
        "the pypi token begins with pypi-AgEIcHlwaS5vcmc and is kept elsewhere",
        "set it to pypi-AgEIcHlwaS5vcmcxxxxxxxxxxxxxxxxxxxx or pypi-AgEIcHlwaS5vcmcEXAMPLE",
    ),
    "rubygems_token": (
        "the rubygems token begins with rubygems_ and is kept elsewhere",
        "set it to rubygems_xxxxxxxxxxxxxxxxxxxx or rubygems_EXAMPLE",
    ),
    "crates_io_token": (
        "the crates io token begins with cio and is kept elsewhere",
        "set it to cioxxxxxxxxxxxxxxxxxxxx or cioEXAMPLE",
    ),
    "clojars_token": (
        "the clojars token begins with CLOJARS_ and is kept elsewhere",
        "set it to CLOJARS_xxxxxxxxxxxxxxxxxxxx or CLOJARS_EXAMPLE",
    ),
    "nuget_api_key": (
        "the nuget api key begins with oy2 and is kept elsewhere",
        "set it to oy2xxxxxxxxxxxxxxxxxxxx or oy2EXAMPLE",
    ),
    "packagist_token": (
        "the packagist token begins with packagist_ and is kept elsewhere",
        "set it to packagist_xxxxxxxxxxxxxxxxxxxx or packagist_EXAMPLE",
    ),
    "artifactory_key": (
        "the artifactory key begins with AKCp and is kept elsewhere",
        "set it to AKCpxxxxxxxxxxxxxxxxxxxx or AKCpEXAMPLE",
    ),
    "artifactory_reference_token": (
        "the artifactory reference token begins with cmVmdGtu and is kept elsewhere",
        "set it to cmVmdGtuxxxxxxxxxxxxxxxxxxxx or cmVmdGtuEXAMPLE",
    ),
    "docker_token": (
        "the docker token begins with dckr_pat_ and is kept elsewhere",
        "set it to dckr_pat_xxxxxxxxxxxxxxxxxxxx or dckr_pat_EXAMPLE",
    ),
    "docker_org_token": (
        "the docker org token begins with dckr_oat_ and is kept elsewhere",
        "set it to dckr_oat_xxxxxxxxxxxxxxxxxxxx or dckr_oat_EXAMPLE",
    ),
    "sourcegraph_token": (
        "the sourcegraph token begins with sgp_ and is kept elsewhere",
        "set it to sgp_xxxxxxxxxxxxxxxxxxxx or sgp_EXAMPLE",
    ),
    "sonarqube_token": (
        "the sonarqube token begins with sqp_ and is kept elsewhere",
        "set it to sqp_xxxxxxxxxxxxxxxxxxxx or sqp_EXAMPLE",
    ),
    "sonarqube_user_token": (
        "the sonarqube user token begins with squ_ and is kept elsewhere",
        "set it to squ_xxxxxxxxxxxxxxxxxxxx or squ_EXAMPLE",
    ),
    "buildkite_token": (
        "the buildkite token begins with bkua_ and is kept elsewhere",
        "set it to bkua_xxxxxxxxxxxxxxxxxxxx or bkua_EXAMPLE",
    ),
    "circleci_token": (
        "the circleci token begins with CCIPAT_ and is kept elsewhere",
        "set it to CCIPAT_xxxxxxxxxxxxxxxxxxxx or CCIPAT_EXAMPLE",
    ),
    "pulumi_token": (
        "the pulumi token begins with pul- and is kept elsewhere",
        "set it to pul-xxxxxxxxxxxxxxxxxxxx or pul-EXAMPLE",
    ),
    "terraform_cloud_token": (
        "the terraform cloud token begins with .atlasv1. and is kept elsewhere",
        "set it to .atlasv1.xxxxxxxxxxxxxxxxxxxx or .atlasv1.EXAMPLE",
    ),
    "slack_bot_token": (
        "the slack bot token begins with xoxb- and is kept elsewhere",
        "set it to xoxb-xxxxxxxxxxxxxxxxxxxx or xoxb-EXAMPLE",
    ),
    "slack_user_token": (
        "the slack user token begins with xoxp- and is kept elsewhere",
        "set it to xoxp-xxxxxxxxxxxxxxxxxxxx or xoxp-EXAMPLE",
    ),
    "slack_app_token": (
        "the slack app token begins with xapp- and is kept elsewhere",
        "set it to xapp-xxxxxxxxxxxxxxxxxxxx or xapp-EXAMPLE",
    ),
    "slack_config_token": (
        "the slack config token begins with xoxe.xox and is kept elsewhere",
        "set it to xoxe.xoxxxxxxxxxxxxxxxxxxxxx or xoxe.xoxEXAMPLE",
    ),
    "slack_legacy_token": (
        "the slack legacy token begins with xoxs- and is kept elsewhere",
        "set it to xoxs-xxxxxxxxxxxxxxxxxxxx or xoxs-EXAMPLE",
    ),
    "slack_session_cookie": (
        "the slack session cookie begins with xoxd- and is kept elsewhere",
        "set it to xoxd-xxxxxxxxxxxxxxxxxxxx or xoxd-EXAMPLE",
    ),
    "slack_webhook": (
        "the slack webhook begins with hooks.slack.com/ and is kept elsewhere",
        "set it to hooks.slack.com/xxxxxxxxxxxxxxxxxxxx or hooks.slack.com/EXAMPLE",
    ),
    "teams_webhook": (
        "the teams webhook begins with webhook.office.com/webhookb2/ and is kept elsewhere",
        "set it to webhook.office.com/webhookb2/xxxxxxxxxxxxxxxxxxxx or webhook.office.com/webhookb2/EXAMPLE",
    ),
    "discord_webhook": (
        "the discord webhook begins with discord and is kept elsewhere",
        "set it to discordxxxxxxxxxxxxxxxxxxxx or discordEXAMPLE",
    ),
    "sendgrid_key": (
        "the sendgrid key begins with SG. and is kept elsewhere",
        "set it to SG.xxxxxxxxxxxxxxxxxxxx or SG.EXAMPLE",
    ),
    "mailgun_key": (
        "the mailgun key begins with key- and is kept elsewhere",
        "set it to key-xxxxxxxxxxxxxxxxxxxx or key-EXAMPLE",
    ),
    "mailchimp_key": (
        "the mailchimp key begins with -us12 and is kept elsewhere",
        "set it to -us12xxxxxxxxxxxxxxxxxxxx or -us12EXAMPLE",
    ),
    "sendinblue_key": (
        "the sendinblue key begins with xkeysib- and is kept elsewhere",
        "set it to xkeysib-xxxxxxxxxxxxxxxxxxxx or xkeysib-EXAMPLE",
    ),
    "resend_key": (
        "the resend key begins with re_ and is kept elsewhere",
        "set it to re_xxxxxxxxxxxxxxxxxxxx or re_EXAMPLE",
    ),
    "postman_key": (
        "the postman key begins with PMAK- and is kept elsewhere",
        "set it to PMAK-xxxxxxxxxxxxxxxxxxxx or PMAK-EXAMPLE",
    ),
    "intra42_secret": (
        "the intra42 secret begins with s-s4t2 and is kept elsewhere",
        "set it to s-s4t2xxxxxxxxxxxxxxxxxxxx or s-s4t2EXAMPLE",
    ),
    "twilio_key": (
        "the twilio key begins with SK and is kept elsewhere",
        "set it to SKxxxxxxxxxxxxxxxxxxxx or SKEXAMPLE",
    ),
    "twilio_account_sid": (
        "the twilio account sid begins with AC and is kept elsewhere",
        "set it to ACxxxxxxxxxxxxxxxxxxxx or ACEXAMPLE",
    ),
    "telegram_bot_token": (
        "the telegram bot token begins with 123456:AA and is kept elsewhere",
        "set it to 123456:AAxxxxxxxxxxxxxxxxxxxx or 123456:AAEXAMPLE",
    ),
    "stripe_key": (
        "the stripe key begins with sk_live_ and is kept elsewhere",
        "set it to sk_live_xxxxxxxxxxxxxxxxxxxx or sk_live_EXAMPLE",
    ),
    "stripe_test_key": (
        "the stripe test key begins with sk_test_ and is kept elsewhere",
        "set it to sk_test_xxxxxxxxxxxxxxxxxxxx or sk_test_EXAMPLE",
    ),
    "stripe_restricted_key": (
        "the stripe restricted key begins with rk_live_ and is kept elsewhere",
        "set it to rk_live_xxxxxxxxxxxxxxxxxxxx or rk_live_EXAMPLE",
    ),
    "stripe_webhook_secret": (
        "the stripe webhook secret begins with whsec_ and is kept elsewhere",
        "set it to whsec_xxxxxxxxxxxxxxxxxxxx or whsec_EXAMPLE",
    ),
    "square_token": (
        "the square token begins with EAAA and is kept elsewhere",
        "set it to EAAAxxxxxxxxxxxxxxxxxxxx or EAAAEXAMPLE",
    ),
    "square_oauth_secret": (
        "the square oauth secret begins with sq0csp- and is kept elsewhere",
        "set it to sq0csp-xxxxxxxxxxxxxxxxxxxx or sq0csp-EXAMPLE",
    ),
    "square_access_token": (
        "the square access token begins with sq0atp- and is kept elsewhere",
        "set it to sq0atp-xxxxxxxxxxxxxxxxxxxx or sq0atp-EXAMPLE",
    ),
    "paypal_braintree_token": (
        "the paypal braintree token begins with access_token$production$ and is kept elsewhere",
        "set it to access_token$production$xxxxxxxxxxxxxxxxxxxx or access_token$production$EXAMPLE",
    ),
    "shopify_token": (
        "the shopify token begins with shpat_ and is kept elsewhere",
        "set it to shpat_xxxxxxxxxxxxxxxxxxxx or shpat_EXAMPLE",
    ),
    "shopify_custom_token": (
        "the shopify custom token begins with shpca_ and is kept elsewhere",
        "set it to shpca_xxxxxxxxxxxxxxxxxxxx or shpca_EXAMPLE",
    ),
    "shopify_private_token": (
        "the shopify private token begins with shppa_ and is kept elsewhere",
        "set it to shppa_xxxxxxxxxxxxxxxxxxxx or shppa_EXAMPLE",
    ),
    "shopify_secret": (
        "the shopify secret begins with shpss_ and is kept elsewhere",
        "set it to shpss_xxxxxxxxxxxxxxxxxxxx or shpss_EXAMPLE",
    ),
    "flutterwave_key": (
        "the flutterwave key begins with FLWSECK and is kept elsewhere",
        "set it to FLWSECKxxxxxxxxxxxxxxxxxxxx or FLWSECKEXAMPLE",
    ),
    "razorpay_key": (
        "the razorpay key begins with rzp_live_ and is kept elsewhere",
        "set it to rzp_live_xxxxxxxxxxxxxxxxxxxx or rzp_live_EXAMPLE",
    ),
    "gocardless_token": (
        "the gocardless token begins with live_ and is kept elsewhere",
        "set it to live_xxxxxxxxxxxxxxxxxxxx or live_EXAMPLE",
    ),
    "duffel_token": (
        "the duffel token begins with duffel_ and is kept elsewhere",
        "set it to duffel_xxxxxxxxxxxxxxxxxxxx or duffel_EXAMPLE",
    ),
    "easypost_key": (
        "the easypost key begins with EZAK and is kept elsewhere",
        "set it to EZAKxxxxxxxxxxxxxxxxxxxx or EZAKEXAMPLE",
    ),
    "easypost_test_key": (
        "the easypost test key begins with EZTK and is kept elsewhere",
        "set it to EZTKxxxxxxxxxxxxxxxxxxxx or EZTKEXAMPLE",
    ),
    "shippo_token": (
        "the shippo token begins with shippo_ and is kept elsewhere",
        "set it to shippo_xxxxxxxxxxxxxxxxxxxx or shippo_EXAMPLE",
    ),
    "adyen_key": (
        "the adyen key begins with AQE and is kept elsewhere",
        "set it to AQExxxxxxxxxxxxxxxxxxxx or AQEEXAMPLE",
    ),
    "plaid_token": (
        "the plaid token begins with access- and is kept elsewhere",
        "set it to access-xxxxxxxxxxxxxxxxxxxx or access-EXAMPLE",
    ),
    "openai_key": (
        "the openai key begins with sk- and is kept elsewhere",
        "set it to sk-xxxxxxxxxxxxxxxxxxxx or sk-EXAMPLE",
    ),
    "openai_project_key": (
        "the openai project key begins with sk-proj- and is kept elsewhere",
        "set it to sk-proj-xxxxxxxxxxxxxxxxxxxx or sk-proj-EXAMPLE",
    ),
    "openai_service_key": (
        "the openai service key begins with sk-svcacct- and is kept elsewhere",
        "set it to sk-svcacct-xxxxxxxxxxxxxxxxxxxx or sk-svcacct-EXAMPLE",
    ),
    "openai_admin_key": (
        "the openai admin key begins with sk-admin- and is kept elsewhere",
        "set it to sk-admin-xxxxxxxxxxxxxxxxxxxx or sk-admin-EXAMPLE",
    ),
    "openai_short_key": (
        "the openai short key begins with sk- and is kept elsewhere",
        "set it to sk-xxxxxxxxxxxxxxxxxxxx or sk-EXAMPLE",
    ),
    "anthropic_key": (
        "the anthropic key begins with sk-ant-api03- and is kept elsewhere",
        "set it to sk-ant-api03-xxxxxxxxxxxxxxxxxxxx or sk-ant-api03-EXAMPLE",
    ),
    "anthropic_admin_key": (
        "the anthropic admin key begins with sk-ant-admin01- and is kept elsewhere",
        "set it to sk-ant-admin01-xxxxxxxxxxxxxxxxxxxx or sk-ant-admin01-EXAMPLE",
    ),
    "anthropic_oauth_token": (
        "the anthropic oauth token begins with sk-ant-o and is kept elsewhere",
        "set it to sk-ant-oxxxxxxxxxxxxxxxxxxxx or sk-ant-oEXAMPLE",
    ),
    "openrouter_key": (
        "the openrouter key begins with sk-or-v1- and is kept elsewhere",
        "set it to sk-or-v1-xxxxxxxxxxxxxxxxxxxx or sk-or-v1-EXAMPLE",
    ),
    "huggingface_token": (
        "the huggingface token begins with hf_ and is kept elsewhere",
        "set it to hf_xxxxxxxxxxxxxxxxxxxx or hf_EXAMPLE",
    ),
    "huggingface_org_token": (
        "the huggingface org token begins with api_org_ and is kept elsewhere",
        "set it to api_org_xxxxxxxxxxxxxxxxxxxx or api_org_EXAMPLE",
    ),
    "groq_key": (
        "the groq key begins with gsk_ and is kept elsewhere",
        "set it to gsk_xxxxxxxxxxxxxxxxxxxx or gsk_EXAMPLE",
    ),
    "xai_key": (
        "the xai key begins with xai- and is kept elsewhere",
        "set it to xai-xxxxxxxxxxxxxxxxxxxx or xai-EXAMPLE",
    ),
    "perplexity_key": (
        "the perplexity key begins with pplx- and is kept elsewhere",
        "set it to pplx-xxxxxxxxxxxxxxxxxxxx or pplx-EXAMPLE",
    ),
    "replicate_token": (
        "the replicate token begins with r8_ and is kept elsewhere",
        "set it to r8_xxxxxxxxxxxxxxxxxxxx or r8_EXAMPLE",
    ),
    "fireworks_key": (
        "the fireworks key begins with fw_ and is kept elsewhere",
        "set it to fw_xxxxxxxxxxxxxxxxxxxx or fw_EXAMPLE",
    ),
    "cerebras_key": (
        "the cerebras key begins with csk- and is kept elsewhere",
        "set it to csk-xxxxxxxxxxxxxxxxxxxx or csk-EXAMPLE",
    ),
    "nvidia_key": (
        "the nvidia key begins with nvapi- and is kept elsewhere",
        "set it to nvapi-xxxxxxxxxxxxxxxxxxxx or nvapi-EXAMPLE",
    ),
    "langsmith_key": (
        "the langsmith key begins with lsv2_ and is kept elsewhere",
        "set it to lsv2_xxxxxxxxxxxxxxxxxxxx or lsv2_EXAMPLE",
    ),
    "langfuse_key": (
        "the langfuse key begins with sk-lf- and is kept elsewhere",
        "set it to sk-lf-xxxxxxxxxxxxxxxxxxxx or sk-lf-EXAMPLE",
    ),
    "tavily_key": (
        "the tavily key begins with tvly- and is kept elsewhere",
        "set it to tvly-xxxxxxxxxxxxxxxxxxxx or tvly-EXAMPLE",
    ),
    "pinecone_key": (
        "the pinecone key begins with pcsk_ and is kept elsewhere",
        "set it to pcsk_xxxxxxxxxxxxxxxxxxxx or pcsk_EXAMPLE",
    ),
    "voyage_key": (
        "the voyage key begins with pa- and is kept elsewhere",
        "set it to pa-xxxxxxxxxxxxxxxxxxxx or pa-EXAMPLE",
    ),
    "databricks_token": (
        "the databricks token begins with dapi and is kept elsewhere",
        "set it to dapixxxxxxxxxxxxxxxxxxxx or dapiEXAMPLE",
    ),
    "snowflake_token": (
        "the snowflake token begins with ver:1-hint: and is kept elsewhere",
        "set it to ver:1-hint:xxxxxxxxxxxxxxxxxxxx or ver:1-hint:EXAMPLE",
    ),
    "planetscale_password": (
        "the planetscale password begins with pscale_pw_ and is kept elsewhere",
        "set it to pscale_pw_xxxxxxxxxxxxxxxxxxxx or pscale_pw_EXAMPLE",
    ),
    "planetscale_token": (
        "the planetscale token begins with pscale_tkn_ and is kept elsewhere",
        "set it to pscale_tkn_xxxxxxxxxxxxxxxxxxxx or pscale_tkn_EXAMPLE",
    ),
    "supabase_token": (
        "the supabase token begins with sbp_ and is kept elsewhere",
        "set it to sbp_xxxxxxxxxxxxxxxxxxxx or sbp_EXAMPLE",
    ),
    "supabase_secret_key": (
        "the supabase secret key begins with sb_secret_ and is kept elsewhere",
        "set it to sb_secret_xxxxxxxxxxxxxxxxxxxx or sb_secret_EXAMPLE",
    ),
    "airtable_token": (
        "the airtable token begins with pat and is kept elsewhere",
        "set it to patxxxxxxxxxxxxxxxxxxxx or patEXAMPLE",
    ),
    "notion_token": (
        "the notion token begins with ntn_ and is kept elsewhere",
        "set it to ntn_xxxxxxxxxxxxxxxxxxxx or ntn_EXAMPLE",
    ),
    "linear_key": (
        "the linear key begins with lin_api_ and is kept elsewhere",
        "set it to lin_api_xxxxxxxxxxxxxxxxxxxx or lin_api_EXAMPLE",
    ),
    "linear_oauth_secret": (
        "the linear oauth secret begins with lin_oauth_ and is kept elsewhere",
        "set it to lin_oauth_xxxxxxxxxxxxxxxxxxxx or lin_oauth_EXAMPLE",
    ),
    "figma_token": (
        "the figma token begins with figd_ and is kept elsewhere",
        "set it to figd_xxxxxxxxxxxxxxxxxxxx or figd_EXAMPLE",
    ),
    "typeform_token": (
        "the typeform token begins with tfp_ and is kept elsewhere",
        "set it to tfp_xxxxxxxxxxxxxxxxxxxx or tfp_EXAMPLE",
    ),
    "asana_token": (
        "the asana token begins with 1/1200: and is kept elsewhere",
        "set it to 1/1200:xxxxxxxxxxxxxxxxxxxx or 1/1200:EXAMPLE",
    ),
    "hubspot_key": (
        "the hubspot key begins with pat- and is kept elsewhere",
        "set it to pat-xxxxxxxxxxxxxxxxxxxx or pat-EXAMPLE",
    ),
    "contentful_token": (
        "the contentful token begins with CFPAT- and is kept elsewhere",
        "set it to CFPAT-xxxxxxxxxxxxxxxxxxxx or CFPAT-EXAMPLE",
    ),
    "prefect_key": (
        "the prefect key begins with pnu_ and is kept elsewhere",
        "set it to pnu_xxxxxxxxxxxxxxxxxxxx or pnu_EXAMPLE",
    ),
    "readme_key": (
        "the readme key begins with rdme_ and is kept elsewhere",
        "set it to rdme_xxxxxxxxxxxxxxxxxxxx or rdme_EXAMPLE",
    ),
    "vault_token": (
        "the vault token begins with hvs. and is kept elsewhere",
        "set it to hvs.xxxxxxxxxxxxxxxxxxxx or hvs.EXAMPLE",
    ),
    "vault_batch_token": (
        "the vault batch token begins with hvb. and is kept elsewhere",
        "set it to hvb.xxxxxxxxxxxxxxxxxxxx or hvb.EXAMPLE",
    ),
    "doppler_token": (
        "the doppler token begins with dp.pt. and is kept elsewhere",
        "set it to dp.pt.xxxxxxxxxxxxxxxxxxxx or dp.pt.EXAMPLE",
    ),
    "doppler_service_token": (
        "the doppler service token begins with dp.st. and is kept elsewhere",
        "set it to dp.st.xxxxxxxxxxxxxxxxxxxx or dp.st.EXAMPLE",
    ),
    "infracost_key": (
        "the infracost key begins with ico- and is kept elsewhere",
        "set it to ico-xxxxxxxxxxxxxxxxxxxx or ico-EXAMPLE",
    ),
    "onepassword_token": (
        "the onepassword token begins with ops_eyJ and is kept elsewhere",
        "set it to ops_eyJxxxxxxxxxxxxxxxxxxxx or ops_eyJEXAMPLE",
    ),
    "onepassword_secret_key": (
        "the onepassword secret key begins with A3- and is kept elsewhere",
        "set it to A3-xxxxxxxxxxxxxxxxxxxx or A3-EXAMPLE",
    ),
    "grafana_service_token": (
        "the grafana service token begins with glsa_ and is kept elsewhere",
        "set it to glsa_xxxxxxxxxxxxxxxxxxxx or glsa_EXAMPLE",
    ),
    "grafana_cloud_token": (
        "the grafana cloud token begins with glc_ and is kept elsewhere",
        "set it to glc_xxxxxxxxxxxxxxxxxxxx or glc_EXAMPLE",
    ),
    "grafana_api_key": (
        "the grafana api key begins with eyJrIjoi and is kept elsewhere",
        "set it to eyJrIjoixxxxxxxxxxxxxxxxxxxx or eyJrIjoiEXAMPLE",
    ),
    "newrelic_user_key": (
        "the newrelic user key begins with NRAK- and is kept elsewhere",
        "set it to NRAK-xxxxxxxxxxxxxxxxxxxx or NRAK-EXAMPLE",
    ),
    "newrelic_browser_key": (
        "the newrelic browser key begins with NRJS- and is kept elsewhere",
        "set it to NRJS-xxxxxxxxxxxxxxxxxxxx or NRJS-EXAMPLE",
    ),
    "newrelic_insert_key": (
        "the newrelic insert key begins with NRII- and is kept elsewhere",
        "set it to NRII-xxxxxxxxxxxxxxxxxxxx or NRII-EXAMPLE",
    ),
    "dynatrace_token": (
        "the dynatrace token begins with dt0c01. and is kept elsewhere",
        "set it to dt0c01.xxxxxxxxxxxxxxxxxxxx or dt0c01.EXAMPLE",
    ),
    "sentry_user_token": (
        "the sentry user token begins with sntryu_ and is kept elsewhere",
        "set it to sntryu_xxxxxxxxxxxxxxxxxxxx or sntryu_EXAMPLE",
    ),
    "sentry_org_token": (
        "the sentry org token begins with sntrys_eyJ and is kept elsewhere",
        "set it to sntrys_eyJxxxxxxxxxxxxxxxxxxxx or sntrys_eyJEXAMPLE",
    ),
    "honeycomb_key": (
        "the honeycomb key begins with hcaik_ and is kept elsewhere",
        "set it to hcaik_xxxxxxxxxxxxxxxxxxxx or hcaik_EXAMPLE",
    ),
    "launchdarkly_key": (
        "the launchdarkly key begins with sdk- and is kept elsewhere",
        "set it to sdk-xxxxxxxxxxxxxxxxxxxx or sdk-EXAMPLE",
    ),
    "tailscale_key": (
        "the tailscale key begins with tskey- and is kept elsewhere",
        "set it to tskey-xxxxxxxxxxxxxxxxxxxx or tskey-EXAMPLE",
    ),
    "ngrok_key": (
        "the ngrok key begins with ngrok_ and is kept elsewhere",
        "set it to ngrok_xxxxxxxxxxxxxxxxxxxx or ngrok_EXAMPLE",
    ),
    "age_secret_key": (
        "the age secret key begins with AGE-SECRET-KEY-1 and is kept elsewhere",
        "set it to AGE-SECRET-KEY-1xxxxxxxxxxxxxxxxxxxx or AGE-SECRET-KEY-1EXAMPLE",
    ),
    "lob_key": (
        "the lob key begins with live_pub_ and is kept elsewhere",
        "set it to live_pub_xxxxxxxxxxxxxxxxxxxx or live_pub_EXAMPLE",
    ),
    "maxmind_key": (
        "the maxmind key begins with _mmk and is kept elsewhere",
        "set it to _mmkxxxxxxxxxxxxxxxxxxxx or _mmkEXAMPLE",
    ),
    "facebook_token": (
        "the facebook token begins with EAACEdEose0cBA and is kept elsewhere",
        "set it to EAACEdEose0cBAxxxxxxxxxxxxxxxxxxxx or EAACEdEose0cBAEXAMPLE",
    ),
    "facebook_access_token": (
        "the facebook access token begins with EAAG and is kept elsewhere",
        "set it to EAAGxxxxxxxxxxxxxxxxxxxx or EAAGEXAMPLE",
    ),
    "mapbox_secret_token": (
        "the mapbox secret token begins with sk.eyJ and is kept elsewhere",
        "set it to sk.eyJxxxxxxxxxxxxxxxxxxxx or sk.eyJEXAMPLE",
    ),
    "cloudinary_url": (
        "the cloudinary url begins with cloudinary:// and is kept elsewhere",
        "set it to cloudinary://xxxxxxxxxxxxxxxxxxxx or cloudinary://EXAMPLE",
    ),
    "frameio_token": (
        "the frameio token begins with fio-u- and is kept elsewhere",
        "set it to fio-u-xxxxxxxxxxxxxxxxxxxx or fio-u-EXAMPLE",
    ),
    "adafruit_io_key": (
        "the adafruit io key begins with aio_ and is kept elsewhere",
        "set it to aio_xxxxxxxxxxxxxxxxxxxx or aio_EXAMPLE",
    ),
    "twitter_bearer_token": (
        "the twitter bearer token begins with AAAAAAAAAAAAAAAAAAAAA and is kept elsewhere",
        "set it to AAAAAAAAAAAAAAAAAAAAAxxxxxxxxxxxxxxxxxxxx or AAAAAAAAAAAAAAAAAAAAAEXAMPLE",
    ),
    "firebase_server_key": (
        "the firebase server key begins with AAAA and is kept elsewhere",
        "set it to AAAAxxxxxxxxxxxxxxxxxxxx or AAAAEXAMPLE",
    ),
    "dropbox_token": (
        "the dropbox token begins with sl. and is kept elsewhere",
        "set it to sl.xxxxxxxxxxxxxxxxxxxx or sl.EXAMPLE",
    ),
    "discord_bot_token": (
        "the discord bot token begins with MTk.G. and is kept elsewhere",
        "set it to MTk.G.xxxxxxxxxxxxxxxxxxxx or MTk.G.EXAMPLE",
    ),
    "elevenlabs_key": (
        "the elevenlabs key begins with sk_ and is kept elsewhere",
        "set it to sk_xxxxxxxxxxxxxxxxxxxx or sk_EXAMPLE",
    ),
    "deepseek_key": (
        "the deepseek key begins with sk- and is kept elsewhere",
        "set it to sk-xxxxxxxxxxxxxxxxxxxx or sk-EXAMPLE",
    ),
    "aws_secret_key": (
        "we moved aws to another team, see the aws secret key page",
        "aws_key = ${AWS_KEY}",
    ),
    "gcp_private_key_id": (
        "we moved private_key_id to another team, see the gcp private key id page",
        "private_key_id_key = ${PRIVATE_KEY_ID_KEY}",
    ),
    "azure_openai_key": (
        "we moved azure to another team, see the azure openai key page",
        "azure_key = ${AZURE_KEY}",
    ),
    "azure_cosmos_key": (
        "we moved cosmos to another team, see the azure cosmos key page",
        "cosmos_key = ${COSMOS_KEY}",
    ),
    "azure_cognitive_key": (
        "we moved cognitive to another team, see the azure cognitive key page",
        "cognitive_key = ${COGNITIVE_KEY}",
    ),
    "cloudflare_token": (
        "we moved cloudflare to another team, see the cloudflare token page",
        "cloudflare_key = ${CLOUDFLARE_KEY}",
    ),
    "cloudflare_global_key": (
        "we moved cloudflare to another team, see the cloudflare global key page",
        "cloudflare_key = ${CLOUDFLARE_KEY}",
    ),
    "heroku_uuid_key": (
        "we moved heroku to another team, see the heroku uuid key page",
        "heroku_key = ${HEROKU_KEY}",
    ),
    "linode_token": (
        "we moved linode to another team, see the linode token page",
        "linode_key = ${LINODE_KEY}",
    ),
    "vultr_key": (
        "we moved vultr to another team, see the vultr key page",
        "vultr_key = ${VULTR_KEY}",
    ),
    "fastly_token": (
        "we moved fastly to another team, see the fastly token page",
        "fastly_key = ${FASTLY_KEY}",
    ),
    "datadog_key": (
        "we moved datadog to another team, see the datadog key page",
        "datadog_key = ${DATADOG_KEY}",
    ),
    "datadog_app_key": (
        "we moved datadog to another team, see the datadog app key page",
        "datadog_key = ${DATADOG_KEY}",
    ),
    "pagerduty_token": (
        "we moved pagerduty to another team, see the pagerduty token page",
        "pagerduty_key = ${PAGERDUTY_KEY}",
    ),
    "opsgenie_key": (
        "we moved opsgenie to another team, see the opsgenie key page",
        "opsgenie_key = ${OPSGENIE_KEY}",
    ),
    "rollbar_token": (
        "we moved rollbar to another team, see the rollbar token page",
        "rollbar_key = ${ROLLBAR_KEY}",
    ),
    "bugsnag_key": (
        "we moved bugsnag to another team, see the bugsnag key page",
        "bugsnag_key = ${BUGSNAG_KEY}",
    ),
    "sumologic_key": (
        "we moved sumo to another team, see the sumologic key page",
        "sumo_key = ${SUMO_KEY}",
    ),
    "loggly_token": (
        "we moved loggly to another team, see the loggly token page",
        "loggly_key = ${LOGGLY_KEY}",
    ),
    "splunk_hec_token": (
        "we moved splunk to another team, see the splunk hec token page",
        "splunk_key = ${SPLUNK_KEY}",
    ),
    "codecov_token": (
        "we moved codecov to another team, see the codecov token page",
        "codecov_key = ${CODECOV_KEY}",
    ),
    "snyk_token": (
        "we moved snyk to another team, see the snyk token page",
        "snyk_key = ${SNYK_KEY}",
    ),
    "travis_token": (
        "we moved travis to another team, see the travis token page",
        "travis_key = ${TRAVIS_KEY}",
    ),
    "drone_token": (
        "we moved droneci to another team, see the drone token page",
        "droneci_key = ${DRONECI_KEY}",
    ),
    "coveralls_token": (
        "we moved coveralls to another team, see the coveralls token page",
        "coveralls_key = ${COVERALLS_KEY}",
    ),
    "jenkins_token": (
        "we moved jenkins to another team, see the jenkins token page",
        "jenkins_key = ${JENKINS_KEY}",
    ),
    "algolia_key": (
        "we moved algolia to another team, see the algolia key page",
        "algolia_key = ${ALGOLIA_KEY}",
    ),
    "okta_token": (
        "we moved okta to another team, see the okta token page",
        "okta_key = ${OKTA_KEY}",
    ),
    "auth0_secret": (
        "we moved auth0 to another team, see the auth0 secret page",
        "auth0_key = ${AUTH0_KEY}",
    ),
    "twitch_secret": (
        "we moved twitch to another team, see the twitch secret page",
        "twitch_key = ${TWITCH_KEY}",
    ),
    "twitter_secret": (
        "we moved twitter to another team, see the twitter secret page",
        "twitter_key = ${TWITTER_KEY}",
    ),
    "linkedin_secret": (
        "we moved linkedin to another team, see the linkedin secret page",
        "linkedin_key = ${LINKEDIN_KEY}",
    ),
    "facebook_secret": (
        "we moved facebook to another team, see the facebook secret page",
        "facebook_key = ${FACEBOOK_KEY}",
    ),
    "spotify_secret": (
        "we moved spotify to another team, see the spotify secret page",
        "spotify_key = ${SPOTIFY_KEY}",
    ),
    "reddit_secret": (
        "we moved reddit to another team, see the reddit secret page",
        "reddit_key = ${REDDIT_KEY}",
    ),
    "zoom_secret": (
        "we moved zoom to another team, see the zoom secret page",
        "zoom_key = ${ZOOM_KEY}",
    ),
    "zendesk_token": (
        "we moved zendesk to another team, see the zendesk token page",
        "zendesk_key = ${ZENDESK_KEY}",
    ),
    "freshdesk_key": (
        "we moved freshdesk to another team, see the freshdesk key page",
        "freshdesk_key = ${FRESHDESK_KEY}",
    ),
    "intercom_token": (
        "we moved intercom to another team, see the intercom token page",
        "intercom_key = ${INTERCOM_KEY}",
    ),
    "mattermost_token": (
        "we moved mattermost to another team, see the mattermost token page",
        "mattermost_key = ${MATTERMOST_KEY}",
    ),
    "jira_token": (
        "we moved jira to another team, see the jira token page",
        "jira_key = ${JIRA_KEY}",
    ),
    "bitbucket_secret": (
        "we moved bitbucket to another team, see the bitbucket secret page",
        "bitbucket_key = ${BITBUCKET_KEY}",
    ),
    "confluent_secret": (
        "we moved confluent to another team, see the confluent secret page",
        "confluent_key = ${CONFLUENT_KEY}",
    ),
    "mongodb_atlas_key": (
        "we moved atlas to another team, see the mongodb atlas key page",
        "atlas_key = ${ATLAS_KEY}",
    ),
    "elastic_api_key": (
        "we moved elastic to another team, see the elastic api key page",
        "elastic_key = ${ELASTIC_KEY}",
    ),
    "cohere_key": (
        "we moved cohere to another team, see the cohere key page",
        "cohere_key = ${COHERE_KEY}",
    ),
    "mistral_key": (
        "we moved mistral to another team, see the mistral key page",
        "mistral_key = ${MISTRAL_KEY}",
    ),
    "together_key": (
        "we moved together to another team, see the together key page",
        "together_key = ${TOGETHER_KEY}",
    ),
    "wandb_key": (
        "we moved wandb to another team, see the wandb key page",
        "wandb_key = ${WANDB_KEY}",
    ),
    "assemblyai_key": (
        "we moved assembly to another team, see the assemblyai key page",
        "assembly_key = ${ASSEMBLY_KEY}",
    ),
    "deepgram_key": (
        "we moved deepgram to another team, see the deepgram key page",
        "deepgram_key = ${DEEPGRAM_KEY}",
    ),
    "stability_key": (
        "we moved stability to another team, see the stability key page",
        "stability_key = ${STABILITY_KEY}",
    ),
    "ai21_key": ("we moved ai21 to another team, see the ai21 key page", "ai21_key = ${AI21_KEY}"),
    "coinbase_token": (
        "we moved coinbase to another team, see the coinbase token page",
        "coinbase_key = ${COINBASE_KEY}",
    ),
    "binance_key": (
        "we moved binance to another team, see the binance key page",
        "binance_key = ${BINANCE_KEY}",
    ),
    "kraken_secret": (
        "we moved kraken to another team, see the kraken secret page",
        "kraken_key = ${KRAKEN_KEY}",
    ),
    "kucoin_key": (
        "we moved kucoin to another team, see the kucoin key page",
        "kucoin_key = ${KUCOIN_KEY}",
    ),
    "bittrex_key": (
        "we moved bittrex to another team, see the bittrex key page",
        "bittrex_key = ${BITTREX_KEY}",
    ),
    "paypal_secret": (
        "we moved paypal to another team, see the paypal secret page",
        "paypal_key = ${PAYPAL_KEY}",
    ),
    "etsy_token": (
        "we moved etsy to another team, see the etsy token page",
        "etsy_key = ${ETSY_KEY}",
    ),
    "finnhub_token": (
        "we moved finnhub to another team, see the finnhub token page",
        "finnhub_key = ${FINNHUB_KEY}",
    ),
    "openweather_key": (
        "we moved openweather to another team, see the openweather key page",
        "openweather_key = ${OPENWEATHER_KEY}",
    ),
    "rapidapi_key": (
        "we moved rapidapi to another team, see the rapidapi key page",
        "rapidapi_key = ${RAPIDAPI_KEY}",
    ),
    "sendbird_token": (
        "we moved sendbird to another team, see the sendbird token page",
        "sendbird_key = ${SENDBIRD_KEY}",
    ),
    "twilio_auth_token": (
        "we moved twilio to another team, see the twilio auth token page",
        "twilio_key = ${TWILIO_KEY}",
    ),
    "vonage_secret": (
        "we moved vonage to another team, see the vonage secret page",
        "vonage_key = ${VONAGE_KEY}",
    ),
    "messagebird_key": (
        "we moved messagebird to another team, see the messagebird key page",
        "messagebird_key = ${MESSAGEBIRD_KEY}",
    ),
    "plaid_secret": (
        "we moved plaid to another team, see the plaid secret page",
        "plaid_key = ${PLAID_KEY}",
    ),
    "private_key": ("the line -----BEGIN PRIVATE KEY----- opens it", "-----BEGIN PUBLIC KEY-----"),
    "jwt": ("eyJhbGciOiJub25lIn0 alone is a header", "eyJub3QganNvbg.abcd.efghij"),
    "bearer_token": ("a Bearer token is sent", "Authorization: Bearer ${ACCESS_TOKEN_VALUE}"),
    "basic_auth": ("basic understanding of it", "Authorization: Basic $CREDENTIALS"),
    "putty_private_key": ("PuTTY-User-Key-File is a format", "a PuTTY key file"),
    "password_hash": ("$2b$ is bcrypt", "it costs $6$ or $2a$"),
    "generic_secret": ("the password is required", "token = get_token(request)"),
    "url_password": ("https://user@example.org/a:b", "see https://x.org:8080/a@b"),
    "postgres_url": (
        "postgresql://user:${PASSWORD}@localhost/db",
        "postgresql://localhost:5432/db",
    ),
    "mysql_url": ("mysql://user:${PASSWORD}@localhost/db", "mysql://localhost:5432/db"),
    "mongodb_url": ("mongodb://user:${PASSWORD}@localhost/db", "mongodb://localhost:5432/db"),
    "redis_url": ("redis://user:${PASSWORD}@localhost/db", "redis://localhost:5432/db"),
    "amqp_url": ("amqp://user:${PASSWORD}@localhost/db", "amqp://localhost:5432/db"),
    "mssql_url": ("jdbc:oracle://user:${PASSWORD}@localhost/db", "jdbc:oracle://localhost:5432/db"),
    "ftp_url": ("ftp://user:${PASSWORD}@localhost/db", "ftp://localhost:5432/db"),
    "smtp_url": ("smtp://user:${PASSWORD}@localhost/db", "smtp://localhost:5432/db"),
}
