/**
 * Loads the wasm module, once in a page: all its stores share one memory.
 */

/** Where the module is, or what it is. */
export type ModuleSource = RequestInfo | URL | Response | BufferSource | WebAssembly.Module;

/** The bindings, which a bundler finds by one name only. */
export interface Bindings {
  imports(): WebAssembly.Imports;
  begin(instance: WebAssembly.Instance): void;
}

let loading: Promise<void> | undefined;

/** Resolves once the module is there. What another call began to load is what counts, unless it failed. */
export function load(source: ModuleSource, { imports, begin }: Bindings): Promise<void> {
  loading ??= instance(source, imports()).then(begin, (error) => {
    loading = undefined;
    throw error;
  });
  return loading;
}

async function instance(source: ModuleSource, imports: WebAssembly.Imports): Promise<WebAssembly.Instance> {
  if (typeof source === "string" || source instanceof URL || source instanceof Request) source = await fetch(source);
  if (source instanceof Response) {
    const { ok, status, url, headers } = source;
    if (!ok) throw new Error(`${url} answers with status ${status}, and not with the module`);
    if (headers.get("content-type") === "application/wasm") {
      return (await WebAssembly.instantiateStreaming(source, imports)).instance;
    }
    // A server that does not know what it serves.
    source = await source.arrayBuffer();
  }
  const made: WebAssembly.Instance | WebAssembly.WebAssemblyInstantiatedSource = await WebAssembly.instantiate(
    source as WebAssembly.Module,
    imports,
  );
  return made instanceof WebAssembly.Instance ? made : (made as WebAssembly.WebAssemblyInstantiatedSource).instance;
}
