// The SDK's tracing without a tracing system: a provider of spans that only have ids, and the W3C propagator.
import { randomBytes } from 'node:crypto';
import { createRequire } from 'node:module';

// The very copy of the API that the SDK has.
const { propagation, trace, context } = createRequire(createRequire(import.meta.url).resolve('@anthropic-ai/sdk'))('@opentelemetry/api');

const id = (bytes) => randomBytes(bytes).toString('hex');

propagation.setGlobalPropagator({
	inject(ctx, carrier, setter) {
		const span = trace.getSpanContext(ctx);
		if (span) setter.set(carrier, 'traceparent', `00-${span.traceId}-${span.spanId}-01`);
	},
	extract: (ctx) => ctx,
	fields: () => ['traceparent'],
});

const tracer = {
	startSpan: () => trace.wrapSpanContext({ traceId: id(16), spanId: id(8), traceFlags: 1 }),
	startActiveSpan: (name, ...rest) => {
		const span = tracer.startSpan();
		return context.with(trace.setSpan(context.active(), span), () => rest.at(-1)(span));
	},
};

export const tracing = { tracerProvider: { getTracer: () => tracer } };
