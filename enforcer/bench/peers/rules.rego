# The 20 rules of ../policies.yaml in Rego: one entry a rule, named <policy>/<rule>; the verdicts are left to the caller.
# Facts of detectors (pii.types, llm.input_tokens, llm.estimated_cost_usd) are given in the input.
package enforcer.bench

import rego.v1

# `not x in {…}` asks for nothing where x is absent; `not` over a rule holds there, as not_in does.
approved if input.llm.provider in {"openai", "anthropic", "google"}

served if input.user.region in {"eu", "us", "apac"}

production if input.project.environment == "production"

matched contains "bench-security/card" if "credit_card" in input.pii.types

matched contains "bench-security/ssn" if "ssn" in input.pii.types

matched contains "bench-security/provider" if not approved

matched contains "bench-security/laptop" if input.caller.kind == "laptop"

matched contains "bench-models/retired" if input.llm.model in {"gpt-3.5-turbo", "gpt-4", "claude-2"}

matched contains "bench-models/embedding-stream" if {
	input.llm.operation == "embedding"
	input.llm.stream == true
}

matched contains "bench-models/hot" if input.llm.temperature > 1.5

matched contains "bench-models/many-answers" if input.llm.n > 4

matched contains "bench-cost/prompt-size" if input.llm.input_tokens > 16000

matched contains "bench-cost/dear" if input.llm.estimated_cost_usd > 1

matched contains "bench-cost/output" if input.llm.max_tokens > 4096

matched contains "bench-cost/free-output" if {
	input.team.tier == "free"
	input.llm.max_tokens > 1024
}

matched contains "bench-production/owner" if {
	production
	not input.team.id
}

matched contains "bench-production/project" if {
	production
	not input.project.id
}

matched contains "bench-production/interns" if {
	production
	"intern" in input.user.roles
}

matched contains "bench-production/region" if {
	production
	not served
}

matched contains "bench-spend/steps" if input.attributes.agent_step > 25

matched contains "bench-spend/slow-down" if input.attributes.agent_step > 23

matched contains "bench-spend/answers" if input.llm.n >= 100

matched contains "bench-spend/legacy" if regex.match("^legacy-", input.project.id)
