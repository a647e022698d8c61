// Sets the colours before the first paint: what was chosen earlier, else what the system asks for.
(() => {
  const chosen = localStorage.getItem('midge.theme');
  if (chosen === 'light' || chosen === 'dark') document.documentElement.dataset.theme = chosen;
})();
