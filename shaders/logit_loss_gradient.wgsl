// logit_loss_gradient
