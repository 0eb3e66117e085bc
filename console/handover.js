/**
 * The page behind a sign-in provider: hands the outcome to whoever opened it, or to the page of the hub.
 * The one-use code is in the page itself; it leaves through `postMessage` to one exact origin, or in a fragment.
 */

const { mode, origin, code, error, message } = document.body.dataset;
history.replaceState(null, "", location.pathname); // the provider's code stays in no history

const opener = mode === "popup" && origin ? /** @type {Window | null} */ (window.opener) : null;
if (opener && origin) {
  opener.postMessage({ kind: "aether.signin", ...(code ? { code } : { error: { code: error, message } }) }, origin);
  close();
} else if (code && origin === location.origin) {
  location.replace(`/#signin=${encodeURIComponent(code)}`);
} else if (code) {
  const words = document.getElementById("words");
  if (words) words.textContent = "The page that opened this window is gone. Close it, and begin again there.";
}
