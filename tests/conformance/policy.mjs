// What the types alone do not say, each entry with the place that says it. Everything here narrows or widens a generated schema; what
// is in no table is taken as the SDK declares it: required means present, optional means it may be absent, null only where a type names
// null, and an object has no other keys than its type (closed), unless the type has an index signature.

// Keys that a type does not have and that the contract nevertheless wants: the SDK tolerates them.
export const EXTRA = [
	{ type: 'BetaEnvironment', key: 'state', schema: { enum: ['active', 'archived'] }, why: 'contract 2.2: the hosted service always sends it' },
	{ type: 'BetaEnvironment', key: 'scope', schema: { enum: ['organization'] }, why: 'contract 2.2: the hosted service always sends it' },
	{ type: /^(Beta)?FileMetadataPageCursor$/, key: 'has_more', schema: { type: 'boolean' }, why: 'contract 2.6, A18: superset of the legacy envelope' },
	{ type: /^(Beta)?FileMetadataPageCursor$/, key: 'first_id', schema: { anyOf: [{ type: 'null' }, { type: 'string' }] }, why: 'contract 2.6, A18' },
	{ type: /^(Beta)?FileMetadataPageCursor$/, key: 'last_id', schema: { anyOf: [{ type: 'null' }, { type: 'string' }] }, why: 'contract 2.6, A18' },
	{ type: 'FileMetadata', key: 'scope', schema: { anyOf: [{ type: 'null' }, { type: 'object' }] }, why: 'contract 2.6: one answer for both lanes; the beta type has it' },
	{ type: 'ModelInfo', key: 'allowed_fallback_models', schema: { anyOf: [{ type: 'null' }, { type: 'array', items: { type: 'string' } }] },
		why: 'contract 2.10: one answer for both lanes; the beta type has it' },
	{ type: 'BetaHeartbeatPreconditionFailedErrorDetails', key: 'error_visibility', schema: { const: 'user_facing' }, why: 'contract 1.11' },
];

// Null where a type says that the key is absent or has a value: recorded so, and the SDK does not mind.
export const NULL_TOO = [
	{ type: 'BetaManagedAgentsSessionUsage', keys: ['cache_creation'], why: 'contract 9.1: null until something was written to the cache' },
	{ type: 'BetaManagedAgentsSessionThreadUsage', keys: ['cache_creation'], why: 'contract 2.3: the shape of SessionUsage' },
];

// error_code values that the contract names and ErrorDetails does not have (contract 1.11: where they stand is not documented; ours are
// in details.error_code, where the SDK puts them into APIError.errorCode).
export const REASONS = ['agent_model_required', 'budget_create_only', 'budget_not_raised', 'model_not_budgetable',
	'model_does_not_support_mid_conversation_system', 'workflow_run_open'];

// error.type by status (contract 1.11). `request_too_large` is the contract's; ErrorType does not have it.
export const ERROR_TYPE = {
	400: 'invalid_request_error', 401: 'authentication_error', 402: 'billing_error', 403: 'permission_error', 404: 'not_found_error',
	405: 'invalid_request_error', 408: ['timeout_error', 'invalid_request_error'],
	409: ['invalid_request_error', 'conflict_error', 'memory_precondition_failed_error', 'memory_path_conflict_error'],
	412: 'invalid_request_error', 413: 'request_too_large', 414: 'invalid_request_error', 415: 'invalid_request_error', 429: 'rate_limit_error', 431: 'invalid_request_error',
	500: 'api_error', 501: 'api_error', 502: 'api_error', 503: 'api_error', 504: 'timeout_error', 505: 'api_error', 529: 'overloaded_error',
};

// Ids: contract 1.7. By the key that holds them; `id` itself by the type that has it.
const tail = '01[1-9A-HJ-NP-Za-km-z]{20,24}$';
export const id = (prefix) => `^${prefix}_${tail}`;
export const ID_KEYS = {
	session_id: 'sesn', environment_id: 'env', session_thread_id: 'sthr', parent_thread_id: 'sthr', to_session_thread_id: 'sthr',
	from_session_thread_id: 'sthr', tool_use_id: 'sevt', custom_tool_use_id: 'sevt', mcp_tool_use_id: 'sevt', event_id: 'sevt',
	event_ids: 'sevt', model_request_start_id: 'sevt', outcome_id: 'outc', file_id: 'file', workflow_run_id: 'wrun',
	workflow_run_phase_id: 'wrph', phase_started_id: 'sevt', vault_ids: 'vlt', vault_id: 'vlt', credential_id: 'vcrd', deployment_id: 'depl',
	memory_store_id: 'memstore',
};
// By the `type` of the object; types of events (they have a dot) are sevt_.
export const ID_TYPES = {
	agent: 'agent', environment: 'env', environment_deleted: 'env', session: 'sesn', session_deleted: 'sesn', session_thread: 'sthr',
	session_resource_deleted: 'sesrsc', file_deleted: 'file', vault: 'vlt', vault_deleted: 'vlt', vault_credential: 'vcrd',
	vault_credential_deleted: 'vcrd', work: 'work',
};
// Where `type` says too little: the SDK's name of the object type.
export const ID_NAMES = {
	BetaManagedAgentsFileResource: 'sesrsc', BetaManagedAgentsGitHubRepositoryResource: 'sesrsc', BetaFileMetadata: 'file', FileMetadata: 'file',
	BetaDeletedFile: 'file', DeletedFile: 'file', BetaManagedAgentsAgentMessagePreview: 'sevt', BetaManagedAgentsAgentThinkingPreview: 'sevt', BetaFileScope: 'sesn', FileScope: 'sesn',
};

// Keys that are timestamps, and how they are written (contract 1.8): RFC 3339 UTC, six digits where the contract has seen six.
export const TIME_KEY = /_at$/;
export const SIX_DIGITS = /^BetaManagedAgents|^BetaEnvironment$|^BetaSelfHosted/;
export const TIME = { six: '^\\d{4}-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\d\\.\\d{6}Z$', any: '^\\d{4}-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\d(\\.\\d{1,9})?Z$' };

// `number` that counts: an integer, never negative.
export const INTEGER = /^(version|iteration|size_bytes|index|max_input_tokens|max_tokens|depth|pending|workers_polling|status_code|max_iterations|.*_tokens|.*_requests)$/;
export const SECONDS = /_seconds$/;
export const AMOUNT = '^(0|[1-9][0-9]*)$';

// Optional in the type, but always there (contract 3.1, 3.4), or never null (3.1).
export const ALWAYS = [
	{ type: /Event$/, keys: ['processed_at'], why: 'contract 3.1: null while it waits, never absent' },
	{ type: 'BetaManagedAgentsSendSessionEvents', keys: ['data'], why: 'contract 2.3' },
];
export const NEVER_NULL = [
	{ type: /Event$/, keys: ['session_thread_id', 'deny_message'], why: 'contract 3.1: left out, never null' },
];
